export type { LoadStackOptions, LoadStackResult } from './load-stack.ts';
export { composeFileNames, loadStack, overrideFileNames, stackSpecBytesMax } from './load-stack.ts';
export type { Position, Problem, Warning } from './problem.ts';
export { renderProblems, renderWarnings } from './problem.ts';
export type { StackNameOrigin, StackNameSources } from './stack-name.ts';
export { isStackName, stackNameFrom } from './stack-name.ts';
export type { SourceFile } from './text/dotenv.ts';
