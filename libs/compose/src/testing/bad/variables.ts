import type { Bad } from './bad.ts';
import { web } from './bad.ts';

/** Bad files: variables. */
export const variables: Bad[] = [
  {
    name: 'unset variable',
    text: web(`hostname: \${HOST_NAME} # here`),
    key: 'services.web.hostname',
    message: /HOST_NAME is not set/,
    remedy: /\$\{HOST_NAME:-default\}/,
  },
  {
    name: 'unset variable inside a block text',
    text: web('environment:\n  SCRIPT: |\n    first\n    second $NOPE # here'),
    key: 'services.web.environment.SCRIPT',
    message: /NOPE is not set/,
    remedy: /NOPE/,
  },
  {
    name: 'required variable',
    text: web(`hostname: \${HOST_NAME:?name the host} # here`),
    key: 'services.web.hostname',
    message: /HOST_NAME is required: name the host/,
    remedy: /set HOST_NAME/,
    options: { env: { HOST_NAME: '' } },
  },
  {
    name: 'open brace',
    text: web(`hostname: \${HOST_NAME # here`),
    key: 'services.web.hostname',
    message: /not closed|unexpected/,
    remedy: /\$\$/,
  },
  {
    name: 'dollar that starts no variable',
    text: web('command: ["grep", "x$"] # here'),
    key: 'services.web.command[1]',
    message: /starts no variable/,
    remedy: /\$\$/,
  },
];
