package baton.client

// The numbers of the client contract. All times are seconds.

internal const val EARLY = 10.0 // A token that expires within this time is exchanged first: it could expire on the way.
internal const val SENDING = 10.0 // The time after which one request counts as lost, its body included.
internal const val PAUSE_FIRST = 0.5
internal const val PAUSE_LONGEST = 30.0
internal const val MOMENT = 1.0 // The minimum wait before a second `superseded` counts (rule 8).
internal const val DEFECTS = 3 // After this number of `server_error` in a row, waiting longer does not help.
internal const val GRANTS = 2 // A lost answer may have spent the first grant.
internal const val ANSWER_BYTES = 1 shl 20
internal const val REVOCATIONS = 8
internal const val REVOCATION_LIFE = 30 * 86400.0
internal const val REVOCATION = 10.0 // The maximum wait for the answer to a revocation. It is stored and sent again.
internal const val REVOCATION_REST = 30.0
