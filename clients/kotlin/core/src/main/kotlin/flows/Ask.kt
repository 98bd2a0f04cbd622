package baton.client

import kotlin.coroutines.coroutineContext
import kotlinx.coroutines.ensureActive

/** One question to the server. */
internal class Question<T>(
    val verb: Verb,
    val repeatable: Boolean,
    /** Reads storage and signs. Null: storage moved, so nothing is sent. */
    val prepare: suspend (created: Double) -> Prepared?,
    /** Throws [NoAnswer] if the answer lacks a required member. */
    val read: (Read.Ours) -> T,
    val keyed: Boolean = false,
    /** Returns the facts about this operation, after a refusal. */
    val facts: suspend () -> Facts = { Facts() },
)

/** [success] is set if the step is `DONE` by an answer, [refused] after a refusal. */
internal class Asked<T>(val step: Step, val success: Success<T>?, val refused: Refused?) {
    class Success<T>(val value: T)

    /** The error of a step that the flow does not take. */
    fun error(): Exception = refused ?: IllegalStateException(step.name)
}

/** Send one request, with a new signature each time, until there is an answer to act on. */
internal suspend fun <T> ask(core: Core, question: Question<T>, patience: Patience): Asked<T> {
    var synced = false
    var defects = 0
    while (true) {
        coroutineContext.ensureActive()
        val created = core.second() // Rule 2: first the time. Then `prepare` reads storage, and signs.
        val prepared = question.prepare(created) ?: return Asked(Step.READ_STORAGE, null, null)
        var came = Came.ANSWER
        var refused: Refused? = null
        var last: String
        try {
            val read = core.send(prepared, patience)
            refused = Refused(read.refusal ?: return Asked(Step.DONE, Asked.Success(question.read(read)), null))
            last = refused.message.orEmpty()
        } catch (error: NoAnswer) {
            came = if (error.sent) Came.NOTHING else Came.NOT_SENT
            last = error.message.orEmpty()
        }
        defects = if (refused?.code == "server_error") defects + 1 else 0
        val retryAfter = maxOf(refused?.retryAfter ?: 0.0, if (refused?.code == "superseded") MOMENT else 0.0)
        val step = next(
            Situation(
                question.verb, question.repeatable, question.keyed, came,
                refused?.status ?: 0, refused?.error.orEmpty(), refused?.code.orEmpty(), refused?.action.orEmpty(),
                defects, synced, patience.next(retryAfter), patience.left(),
                if (refused == null) Facts() else question.facts(),
            ),
        )
        when (step) {
            Step.PAUSE -> patience.pause(retryAfter) // Rule 5.
            Step.SYNC -> synced = true // `send` has set the offset from this answer.
            Step.ANSWER_LOST -> throw AnswerLost(last, refused)
            Step.OFFLINE -> throw Offline(last)
            else -> return Asked(step, null, refused)
        }
    }
}

internal enum class Kind { STRING, NUMBER, OBJECT, LIST }

/** Make a reader of answers that must have these members. Any other 2xx answer was changed on its way, and throws. */
internal fun having(vararg members: Pair<String, Kind>): (Read.Ours) -> Map<String, Any?> = { read ->
    for ((name, kind) in members) {
        val value = read.members[name]
        val right = when (kind) {
            Kind.STRING -> value is String
            Kind.NUMBER -> value is Number
            Kind.OBJECT -> value is Map<*, *>
            Kind.LIST -> value is List<*>
        }
        if (!right) throw NoAnswer("the answer has no `$name`")
    }
    read.members
}

/** Reads a token response (RFC 6749 section 5.1). */
internal val tokens = having("access_token" to Kind.STRING, "expires_in" to Kind.NUMBER)

internal fun Map<String, Any?>.text(name: String): String = this[name] as String

internal fun Map<String, Any?>.number(name: String): Double = (this[name] as Number).toDouble()

internal fun strings(value: Any?): List<String> = (value as? List<*>).orEmpty().filterIsInstance<String>()
