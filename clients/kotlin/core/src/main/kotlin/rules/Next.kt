package baton.client

// What a client does next: the table of rules. Its rows are tried in order, and the first that applies decides.
// `attempts.json` of the vectors lists the situations. A test deletes each row in turn: a vector must fail.

/** What was asked. `TIME`: without a token. */
internal enum class Verb { CALL, REGISTER, LOGIN, FACTOR, EXCHANGE, REVOKE, TIME }

/** `NOTHING`: no answer, an incomplete one, or a foreign one (rule 9). */
internal enum class Came { NOT_SENT, NOTHING, ANSWER }

internal enum class Step {
    DONE, PAUSE, SYNC, ANSWER_LOST, EXCHANGE, STEP_UP, RETURN_STEP, RETURN_SESSION, NEW_ATTEMPT, READ_STORAGE, ASK_AGAIN, RULE_8,
    LOGGED_OUT, ATTEST, REFUSED, OFFLINE,
}

/** The facts about the operation of a flow, after a refusal. */
internal data class Facts(
    val exchanged: Boolean = false, // This call has exchanged its token.
    val renewable: Boolean = false, // The token can be exchanged.
    val moved: Boolean = false, // Storage does not hold the token that was sent any more.
    val continued: Boolean = false, // This call went on with a newer token.
    val grants: Int = 0, // Grants that this call has used.
    val confirm: Boolean = false, // The caller can ask the person.
    val superseded: Int = 0, // Earlier `superseded` answers to this exchange.
    val session: Boolean = false, // Another process has finished this login.
    val anew: Boolean = false, // This login has drawn a second attempt.
    val evidence: Boolean = false, // The caller can make evidence.
    val attested: Boolean = false, // This request had evidence.
)

internal data class Situation(
    val verb: Verb,
    val repeatable: Boolean, // Two executions have one effect.
    val keyed: Boolean, // The caller gave an idempotency key.
    val came: Came,
    val status: Int,
    val error: String,
    val code: String,
    val action: String,
    val defects: Int, // `server_error` in a row, with this one.
    val synced: Boolean, // The clock was set for this request.
    val pause: Double, // The next pause, in seconds.
    val left: Double, // The rest of the deadline, in seconds.
    val facts: Facts,
)

internal class Row(val name: String, val step: (Situation) -> Step?)

/** Pause and send again with a fresh signature and the same attempt, if there is time (row 14). */
private fun again(s: Situation) = if (s.pause < s.left) Step.PAUSE else if (s.status == 429) Step.REFUSED else Step.OFFLINE

private fun isLogin(s: Situation) = s.verb == Verb.REGISTER || s.verb == Verb.LOGIN || s.verb == Verb.FACTOR

private fun isDefect(s: Situation) = s.code == "server_error" && s.defects >= DEFECTS

internal val ROWS: List<Row> = listOf(
    Row("1 success") { s -> if (s.came == Came.ANSWER && s.status < 300) Step.DONE else null },
    Row("2 not sent") { s -> if (s.came == Came.NOT_SENT) again(s) else null },
    Row("3 refused before any effect") { s -> if (s.status == 429) again(s) else null },
    Row("5 the outcome is unknown, or a defect") { s ->
        when {
            s.action != "check_outcome" && !isDefect(s) -> null
            !s.repeatable || (s.keyed && (isDefect(s) || s.code != "server_error")) -> Step.ANSWER_LOST
            isDefect(s) -> Step.REFUSED
            else -> again(s) // With a key, the next answer says whether the outcome is known.
        }
    },
    Row("3 no answer") { s ->
        // With row 4: `replayed_nonce` has the action `retry`. An HTTP stack has sent the same bytes twice.
        val busy = s.action == "retry" && s.code != "superseded"
        if (s.came != Came.NOTHING && !busy) null else if (s.repeatable) again(s) else Step.ANSWER_LOST
    },
    Row("6 the clock is wrong") { s -> if (s.action == "sync_clock" && !s.synced) Step.SYNC else null },
    Row("7 the token has expired") { s ->
        if (s.verb == Verb.CALL && s.action == "exchange" && s.facts.renewable && !s.facts.exchanged) Step.EXCHANGE else null
    },
    Row("8 a step-up") { s -> if (s.action == "step_up" && s.facts.confirm && s.facts.grants < GRANTS) Step.STEP_UP else null },
    Row("9 a second factor") { s ->
        if (isLogin(s) && (s.action == "prove_factor" || s.action == "enrol_factor")) Step.RETURN_STEP else null
    },
    Row("10 superseded") { s ->
        when {
            s.code != "superseded" || !(s.verb == Verb.EXCHANGE || isLogin(s)) -> null
            s.verb == Verb.EXCHANGE -> when {
                s.facts.moved -> Step.READ_STORAGE
                s.facts.superseded > 0 -> Step.RULE_8
                else -> if (s.pause < s.left) Step.ASK_AGAIN else Step.OFFLINE
            }
            s.facts.session -> Step.RETURN_SESSION
            else -> if (s.facts.anew || s.verb == Verb.FACTOR) Step.REFUSED else Step.NEW_ATTEMPT
        }
    },
    Row("11 the session has ended") { s ->
        val own = s.verb == Verb.CALL || s.verb == Verb.EXCHANGE || s.verb == Verb.REVOKE
        when {
            !own || s.action != "log_in" || (s.error != "invalid_token" && s.error != "invalid_grant") -> null
            s.verb == Verb.REVOKE -> Step.DONE
            !s.facts.moved -> Step.LOGGED_OUT
            else -> if (s.facts.continued) Step.REFUSED else Step.READ_STORAGE
        }
    },
    Row("12 evidence of the app") { s -> if (s.action == "attest" && s.facts.evidence && !s.facts.attested) Step.ATTEST else null },
)

/** Return what to do next. Any other refusal, and an unknown action, is `REFUSED` (row 13). */
internal fun next(situation: Situation, rows: List<Row> = ROWS): Step = rows.firstNotNullOfOrNull { it.step(situation) } ?: Step.REFUSED
