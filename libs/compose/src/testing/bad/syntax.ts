import type { Bad } from './bad.ts';
import { web } from './bad.ts';

/** Bad files: syntax. */
export const syntax: Bad[] = [
  {
    name: 'tab as indent',
    text: 'services:\n  web:\n\timage: nginx # here\n',
    key: '',
    message: /tabs/i,
    remedy: /spaces/,
  },
  {
    name: 'open bracket',
    text: 'services:\n  web: {image: nginx\n\n# here',
    key: '',
    message: /YAML syntax/,
    remedy: /bracket|missing/,
  },
  {
    name: 'open quote',
    text: 'services:\n  web:\n    image: "nginx # here\n',
    key: '',
    message: /" is never closed/,
    remedy: /close the value with "/,
  },
  {
    name: 'colon inside a plain value',
    text: 'services:\n  web:\n    image: nginx: latest # here\n',
    key: '',
    message: /nested mappings/,
    remedy: /quote/,
  },
  {
    name: 'duplicate key',
    text: web('hostname: a\nhostname: b # here'),
    key: 'services.web.hostname',
    message: /twice.*first on line 4/,
    remedy: /remove or rename/,
  },
  {
    name: 'two documents',
    text: 'services: {web: {image: nginx}}\n--- # here\nservices: {}\n',
    key: '',
    message: /multiple documents/,
    remedy: /several -f/,
  },
  {
    name: 'alias without anchor',
    text: web('labels: *nope # here'),
    key: 'services.web.labels',
    message: /no anchor &nope/,
    remedy: /define &nope/,
  },
  {
    name: 'alias that contains itself',
    text: 'x-a: &a\n  - *a # here\nservices: {web: {image: nginx}}',
    key: 'x-a[0]',
    message: /contains itself/,
    remedy: /remove the alias/,
  },
  {
    name: 'merge key with a text',
    text: 'services:\n  web:\n    image: nginx\n    <<: base # here\n',
    key: 'services.web["<<"]',
    message: /expected a map/,
    remedy: /<<: \*anchor/,
  },
  {
    name: 'unknown YAML tag',
    text: web('hostname: !secret x # here'),
    key: 'services.web.hostname',
    message: /unknown YAML tag !secret/,
    remedy: /!reset and !override/,
  },
  { name: 'empty file', text: '# here\n', key: '', message: /empty/, remedy: /services/ },
  { name: 'a list at the top', text: '- web # here\n', key: '', message: /expected a map.*list/, remedy: /services:/ },
  { name: 'no services', text: 'version: "3" # here\n', key: '', message: /no services/, remedy: /services:/ },
  {
    name: 'nested too deeply',
    text: `services: {web: {image: x}}\nx-a: ${'['.repeat(70)}${']'.repeat(70)} # here`,
    key: `x-a${'[0]'.repeat(63)}`,
    message: /too deeply/,
    remedy: /64 levels/,
  },
];
