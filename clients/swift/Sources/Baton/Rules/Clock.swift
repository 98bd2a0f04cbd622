// The offset of the device's clock, and the pauses between sendings.

import Foundation

/// Return the new offset. A slow answer does not move the clock: only an answer that contradicts the offset does.
func newOffset(_ offset: TimeInterval, before: TimeInterval, after: TimeInterval, stated: TimeInterval?) -> TimeInterval {
    guard let stated, stated < before + offset - 1 || stated > after + offset + 1 else { return offset }
    return stated - (before + after) / 2
}

/// Return a time for `Task.sleep`. A server may name any `Retry-After`: more than thirty years are thirty years.
func nanoseconds(_ time: TimeInterval) -> UInt64 { UInt64(max(0, min(time, 1e9)) * 1e9) }

/// Return the next pause: exponential back-off with full jitter (`draw` from 0 to 1), after `Retry-After` (rule 5).
func pauseLength(pauses: Int, draw: Double, atLeast: TimeInterval) -> TimeInterval {
    atLeast + draw * min(pauseLongest, pauseFirst * Double(1 << min(pauses, 16)))
}
