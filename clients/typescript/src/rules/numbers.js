// The numbers of the client contract. All times are seconds.

export const EARLY = 10; // A token that expires within this time is exchanged first: it could expire on the way.
export const DEADLINE = 30; // The time that a caller waits for an answer by default.
export const SENDING = 10; // The time after which one request counts as lost, its body included.
export const PAUSE_FIRST = 0.5;
export const PAUSE_LONGEST = 30;
export const MOMENT = 1; // The minimum wait before a second `superseded` counts (rule 8).
export const DEFECTS = 3; // After this number of `server_error` in a row, waiting longer does not help.
export const GRANTS = 2; // A lost answer may have spent the first grant.
export const ANSWER_BYTES = 1 << 20;
export const LOCK_WAIT = 5; // A frozen tab may hold the lock. It only saves requests.
export const REVOCATIONS = 8;
export const REVOCATION_LIFE = 30 * 86400;
export const REVOCATION = 10; // The maximum wait for the answer to a revocation. It is stored and sent again.
export const REVOCATION_REST = 30;
