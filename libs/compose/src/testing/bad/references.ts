import type { Bad } from './bad.ts';
import { web } from './bad.ts';

/** Bad files: references. */
export const references: Bad[] = [
  {
    name: 'undeclared network',
    text: web('networks:\n  - frnt # here', 'networks: {front: {}}'),
    key: 'services.web.networks[0]',
    message: /network "frnt" is not declared/,
    remedy: /did you mean "front"/,
  },
  {
    name: 'undeclared volume',
    text: web('volumes:\n  - data:/data # here'),
    key: 'services.web.volumes[0]',
    message: /volume "data" is not declared/,
    remedy: /top-level `volumes:`/,
  },
  {
    name: 'undeclared service',
    text: web('depends_on: [db] # here'),
    key: 'services.web.depends_on[0]',
    message: /depends on "db", which is not declared/,
    remedy: /declare the service/,
  },
  {
    name: 'service of an inactive profile',
    text: web('depends_on: [db] # here', '  db: {image: postgres, profiles: [debug]}'),
    key: 'services.web.depends_on[0]',
    message: /profiles are not active/,
    remedy: /activate/,
  },
  {
    name: 'cycle',
    text: 'services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, depends_on: [a]} # here',
    key: 'services.c.depends_on[0]',
    message: /a -> b -> c -> a/,
    remedy: /remove one/,
  },
  {
    name: 'service that waits for itself',
    text: web('depends_on: [web] # here'),
    key: 'services.web.depends_on[0]',
    message: /web -> web/,
    remedy: /remove one/,
  },
  {
    name: 'unknown condition',
    text: web('depends_on:\n  db:\n    condition: service_ready # here', '  db: {image: postgres}'),
    key: 'services.web.depends_on.db.condition',
    message: /"service_ready" is not known/,
    remedy: /service_healthy/,
  },
  {
    name: 'waits for the end of what never ends',
    text: web(
      'depends_on:\n  job: {condition: service_completed_successfully} # here',
      '  job: {image: x, restart: always}',
    ),
    key: 'services.web.depends_on.job',
    message: /never completes/,
    remedy: /restart: "no"/,
  },
  {
    name: 'waits for the health of what has no check',
    text: web(
      'depends_on:\n  db: {condition: service_healthy} # here',
      '  db: {image: x, healthcheck: {disable: true}}',
    ),
    key: 'services.web.depends_on.db',
    message: /health check of "db" is disabled/,
    remedy: /service_started/,
  },
  {
    name: 'dependency with restart',
    text: web('depends_on:\n  db:\n    restart: true # here', '  db: {image: x}'),
    key: 'services.web.depends_on.db.restart',
    message: /not supported/,
    remedy: /remove it/,
  },
  {
    name: 'external network',
    text: web('networks: [a]', 'networks:\n  a:\n    external: true # here'),
    key: 'networks.a.external',
    message: /external networks are not supported/,
    remedy: /one stack/,
  },
  {
    name: 'external volume',
    text: web('volumes: ["a:/a"]', 'volumes:\n  a:\n    external: true # here'),
    key: 'volumes.a.external',
    message: /external volumes are not supported/,
    remedy: /`name:`/,
  },
  {
    name: 'unknown network driver',
    text: web('networks: [a]', 'networks:\n  a:\n    driver: macvlan # here'),
    key: 'networks.a.driver',
    message: /"macvlan"/,
    remedy: /bridge, overlay/,
  },
  {
    name: 'two volumes of one name',
    text: web('volumes: ["a:/a", "b:/b"]', 'volumes:\n  a: {name: data}\n  b:\n    name: data # here'),
    key: 'volumes.b.name',
    message: /already used on line 6/,
    remedy: /a name of its own/,
  },
  {
    name: 'missing env_file',
    text: web('env_file: [web.env] # here'),
    key: 'services.web.env_file[0]',
    message: /\/srv\/shop\/web\.env cannot be read/,
    remedy: /required: false/,
  },
];
