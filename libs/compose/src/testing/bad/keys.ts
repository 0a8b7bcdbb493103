import type { Bad } from './bad.ts';
import { web } from './bad.ts';

/** Bad files: keys. */
export const keys: Bad[] = [
  {
    name: 'mistyped key',
    text: web('enviroment: {A: b} # here'),
    key: 'services.web.enviroment',
    message: /unknown key "enviroment"/,
    remedy: /did you mean "environment"/,
  },
  {
    name: 'key of nobody',
    text: web('zzzzqqqq: 1 # here'),
    key: 'services.web.zzzzqqqq',
    message: /unknown key/,
    remedy: /prefix it with "x-"/,
  },
  {
    name: 'key of Compose that is not supported',
    text: web('privileged: true # here'),
    key: 'services.web.privileged',
    message: /not supported by this version/,
    remedy: /cap_add/,
  },
  {
    name: 'build instead of image',
    text: 'services:\n  web:\n    build: . # here\n',
    key: 'services.web.build',
    message: /not supported/,
    remedy: /`image: NAME`/,
  },
  {
    name: 'no image',
    text: 'services:\n  web: # here\n    command: x\n',
    key: 'services.web',
    message: /no image/,
    remedy: /`image: NAME`/,
  },
  {
    name: 'empty image',
    text: 'services:\n  web:\n    image: "" # here\n',
    key: 'services.web.image',
    message: /empty/,
    remedy: /write a value/,
  },
  {
    name: 'image with a blank',
    text: 'services:\n  web:\n    image: my app # here\n',
    key: 'services.web.image',
    message: /not an image reference/,
    remedy: /NAME\[:TAG\]/,
  },
  {
    name: 'extends',
    text: web('extends: {service: base} # here'),
    key: 'services.web.extends',
    message: /not supported/,
    remedy: /anchor/,
  },
  {
    name: 'top-level secrets',
    text: web('hostname: a', 'secrets: {a: {file: x}} # here'),
    key: 'secrets',
    message: /not supported/,
    remedy: /bind mount/,
  },
  {
    name: 'unknown key under x-berth',
    text: web('x-berth:\n  spread: true # here'),
    key: 'services.web.x-berth.spread',
    message: /unknown key "spread" under x-berth/,
    remedy: /remove it/,
  },
  {
    name: 'unknown key under deploy',
    text: web('deploy:\n  update_config: {order: start-first} # here'),
    key: 'services.web.deploy.update_config',
    message: /not supported/,
    remedy: /slot by slot/,
  },
  {
    name: 'fixed address in a network',
    text: web('networks:\n  a:\n    ipv4_address: 10.0.0.2 # here', 'networks: {a: {}}'),
    key: 'services.web.networks.a.ipv4_address',
    message: /not supported/,
    remedy: /name/,
  },
  {
    name: 'start_interval of newer engines',
    text: web('healthcheck:\n  test: "true"\n  start_interval: 1s # here'),
    key: 'services.web.healthcheck.start_interval',
    message: /not supported/,
    remedy: /interval/,
  },
];
