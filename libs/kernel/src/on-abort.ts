/**
 * Calls `stop` when the signal aborts; at once if it has already, which a listener added now would never hear. Returns
 * what takes it back.
 */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return () => signal.removeEventListener('abort', stop);
}
