package baton.client

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.withTimeoutOrNull

/** The time that a caller waits for an answer by default. */
public val DEADLINE: Duration = 30.seconds

/** The remaining time of one caller, for all requests of its call. [deadline] is in seconds. */
internal class Patience(private val options: Options, private val deadline: Double) {
    private val began = options.clock()
    private var pauses = 0
    private var slept = 0.0
    private var draw = options.random()

    /** Return the seconds that are left. A clock that is set back gives no more time than the pauses have taken. */
    fun left(): Double = deadline - maxOf(options.clock() - began, slept)

    /** Return the next pause. */
    fun next(atLeast: Double): Double = pauseLength(pauses, draw, atLeast)

    /** Wait before the next request. */
    suspend fun pause(atLeast: Double) {
        val length = next(atLeast)
        pauses++
        slept += length
        draw = options.random()
        options.sleep(length)
    }

    /** Wait for work that outlives this caller. At the deadline, or when the caller cancels, only the waiting ends. */
    suspend fun <T> wait(work: Deferred<T>): T {
        val left = left()
        if (left == Double.POSITIVE_INFINITY) return work.await()
        val found = withTimeoutOrNull(left.seconds) { Found(work.await()) }
        return (found ?: throw Offline("another call waits for the exchange")).value
    }

    private class Found<T>(val value: T)
}

internal fun Duration?.inSeconds(): Double = this?.toDouble(DurationUnit.SECONDS) ?: Double.POSITIVE_INFINITY
