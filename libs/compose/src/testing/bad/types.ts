import type { Bad } from './bad.ts';
import { web } from './bad.ts';

/** Bad files: types. */
export const types: Bad[] = [
  {
    name: 'a number for a list',
    text: web('ports: 80 # here'),
    key: 'services.web.ports',
    message: /expected a list, got the number 80/,
    remedy: /write a list/,
  },
  {
    name: 'a list for a map',
    text: web('healthcheck: [CMD] # here'),
    key: 'services.web.healthcheck',
    message: /expected a map, got a list/,
    remedy: /write a map/,
  },
  {
    name: 'a number for the environment',
    text: web('environment: 5 # here'),
    key: 'services.web.environment',
    message: /expected a list or a map/,
    remedy: /write a list or a map/,
  },
  {
    name: 'a map for a value of the environment',
    text: web('environment:\n  A: {b: c} # here'),
    key: 'services.web.environment.A',
    message: /expected a text, got a map/,
    remedy: /write a text/,
  },
  {
    name: 'a list item without a name',
    text: web('environment:\n  - =x # here'),
    key: 'services.web.environment[0]',
    message: /no name before/,
    remedy: /NAME=value/,
  },
  {
    name: 'a number for a text',
    text: web('network_mode: 1 # here'),
    key: 'services.web.network_mode',
    message: /expected a text, got the number 1/,
    remedy: /quotes/,
  },
  {
    name: 'a word for a boolean',
    text: web('read_only: perhaps # here'),
    key: 'services.web.read_only',
    message: /expected true or false/,
    remedy: /true or false/,
  },
  {
    name: 'a word for a number',
    text: web('deploy:\n  replicas: three # here'),
    key: 'services.web.deploy.replicas',
    message: /whole number/,
    remedy: /whole number/,
  },
  {
    name: 'services as a list',
    text: 'services:\n  - web # here\n',
    key: 'services',
    message: /expected a map, got a list/,
    remedy: /write a map/,
  },
  {
    name: 'a service as a text',
    text: 'services:\n  web: nginx # here\n',
    key: 'services.web',
    message: /expected a map, got the text "nginx"/,
    remedy: /write a map/,
  },
  {
    name: 'duration without a unit',
    text: web('stop_grace_period: 30 # here'),
    key: 'services.web.stop_grace_period',
    message: /no unit/,
    remedy: /30s/,
  },
  {
    name: 'not a duration',
    text: web('healthcheck:\n  interval: soon # here'),
    key: 'services.web.healthcheck.interval',
    message: /not a duration/,
    remedy: /1m30s/,
  },
  {
    name: 'open quote in a command',
    text: web(`command: sh -c 'echo # here`),
    key: 'services.web.command',
    message: /' is never closed/,
    remedy: /as a list/,
  },
  {
    name: 'health check without CMD',
    text: web('healthcheck:\n  test: [curl, localhost] # here'),
    key: 'services.web.healthcheck.test',
    message: /cannot start with "curl"/,
    remedy: /CMD/,
  },
];
