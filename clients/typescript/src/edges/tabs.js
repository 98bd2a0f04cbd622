// Tabs of one origin: one exchange at a time, and each tab gets the new states of the others.

/**
 * Run alone among the tabs. After `wait` seconds, run in any case: a frozen tab may hold the lock, and the record is safe.
 * @param {LockManager | undefined} locks @returns {import("../types.js").Lock}
 */
export const webLock = (locks) => async (name, wait, run) => {
  if (!locks) return run();
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), wait * 1000);
  let running = false;
  try {
    return await locks.request(name, { signal: control.signal }, () => {
      running = true;
      clearTimeout(timer);
      return run();
    });
  } catch (error) {
    if (running || !control.signal.aborted) throw error;
    return run();
  } finally {
    clearTimeout(timer);
  }
};

/** @param {string} name @returns {import("../types.js").Channel | undefined} */
export function broadcast(name) {
  if (typeof BroadcastChannel === "undefined") return undefined;
  const channel = new BroadcastChannel(name);
  return {
    tell: () => channel.postMessage(null),
    onTold: (listener) => {
      channel.onmessage = listener;
      /** @type {{ unref?(): void }} */ (channel).unref?.(); // Node would wait for it.
    },
  };
}
