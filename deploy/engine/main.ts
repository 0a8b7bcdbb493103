// node deploy/engine/main.ts start|stop [STATE_DIR RUN_DIR CGROUP]: an engine of Berth's own, by hand and for its test.
import { ensureEngine } from './ensure.ts';
import { defaultPlace } from './record.ts';
import { stopEngine } from './stop.ts';

const { stateDir: state, runDir: run, cgroup: group } = defaultPlace;
const [command, stateDir = state, runDir = run, cgroup = group] = process.argv.slice(2);
const options = { place: { stateDir, runDir, cgroup }, onProgress: (text: string) => console.error(text) };
switch (command) {
  case 'start':
    console.log(JSON.stringify(await ensureEngine(options)));
    break;
  case 'stop':
    console.log(JSON.stringify({ stopped: await stopEngine(options) }));
    break;
  default:
    console.error('usage: main.ts start|stop [STATE_DIR RUN_DIR CGROUP]');
    process.exitCode = 2;
}
