package baton.client

// The offset of the device's clock, and the pauses between sendings.

/** Return the new offset. A slow answer does not move the clock: only an answer that contradicts the offset does. */
internal fun newOffset(offset: Double, before: Double, after: Double, stated: Double?): Double =
    if (stated == null || (stated >= before + offset - 1 && stated <= after + offset + 1)) offset else stated - (before + after) / 2

/** Return the next pause: exponential back-off with full jitter ([draw] from 0 to 1), after `Retry-After` (rule 5). */
internal fun pauseLength(pauses: Int, draw: Double, atLeast: Double): Double =
    atLeast + draw * minOf(PAUSE_LONGEST, PAUSE_FIRST * (1 shl minOf(pauses, 16)))
