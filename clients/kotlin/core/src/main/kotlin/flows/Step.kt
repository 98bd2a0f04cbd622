package baton.client

import kotlin.time.Duration

/** The second step of a login: it proves a second factor, or enrols one. It survives a restart. */
public class LoginStep internal constructor(
    private val core: Core,
    /** The factors that the person can prove. */
    public val factors: List<String>,
    /** The factors that the person can enrol. */
    public val enrol: List<String>,
    /** When the step ends, in seconds of the server's clock. */
    public val expiresAt: Double,
    problem: Map<String, Any?>,
) : Login {
    /** All other members of the answer. */
    public val problem: Map<String, Any?> = problem - "auth_session"

    private sealed interface Result {
        class Answered(val value: Map<String, Any?>, val record: DeviceRecord) : Result

        class Next(val step: LoginStep) : Result

        object Finished : Result // Another process has finished this login.
    }

    /** Return the options of a passkey, for the platform. */
    public suspend fun options(deadline: Duration? = DEADLINE): Map<String, Any?> =
        objectOf(answered("/login/factor/options", emptyMap(), having("options" to Kind.OBJECT), deadline)["options"])!!

    /** Where [factors] is `email_code`: send a code to the address of the account. */
    public suspend fun sendEmailCode(deadline: Duration? = DEADLINE) {
        answered("/login/email-code", emptyMap(), having("expires_in" to Kind.NUMBER), deadline)
    }

    /** Begin to enrol a factor, `totp` or `passkey`. Show `otpauth_uri`, or pass `options` to the platform. Then [prove] with `enrolment`. */
    public suspend fun enrolment(kind: String, deadline: Duration? = DEADLINE): Map<String, Any?> {
        val shown = if (kind == "passkey") "options" to Kind.OBJECT else "secret" to Kind.STRING
        return answered("/login/enrol", mapOf("kind" to kind), having("enrolment" to Kind.STRING, shown), deadline)
    }

    /**
     * Prove a factor. After [Refused] with code `invalid_factor` or `invalid_code`, ask the person again. After
     * `invalid_session`, log in again.
     */
    public suspend fun prove(proof: Proof, rememberDevice: Boolean = true, enrolment: String? = null, deadline: Duration? = DEADLINE): Login {
        val members = proof.members() + (enrolment?.let { mapOf("enrolment" to it) }.orEmpty()) + ("remember_device" to rememberDevice)
        return when (val result = ask("/login/factor", members, firstTokens(core), deadline)) {
            is Result.Answered -> begun(core, result.value, result.record)
            is Result.Next -> result.step
            Result.Finished -> loginDone(core.session(), emptyMap())
        }
    }

    private suspend fun answered(path: String, members: Map<String, Any?>, read: (Read.Ours) -> Map<String, Any?>, deadline: Duration?) =
        when (val result = ask(path, members, read, deadline)) {
            is Result.Answered -> result.value
            else -> throw NotLoggedIn("This login has continued without this step.")
        }

    private suspend fun ask(path: String, members: Map<String, Any?>, read: (Read.Ours) -> Map<String, Any?>, deadline: Duration?): Result {
        val record = core.read()
        val pending = record.pending
        val session = pending?.authSession ?: throw NotLoggedIn("No login waits for a second factor: log in.")
        val body = utf8(Json.write(mapOf("auth_session" to session) + members))
        val signer = introduction(core, record, core.binding == Binding.HMAC).signer
        val plan = Plan("POST", path, body, fields = mapOf("idempotency-key" to quotedKey(pending.attempt)))
        val facts: suspend () -> Facts = {
            val now = core.read()
            Facts(session = now.session != null && now.pending?.attempt != pending.attempt)
        }
        val asked = ask(core, Question(Verb.FACTOR, true, { core.prepared(plan, it, signer) }, read, facts = facts), core.patience(deadline))
        asked.success?.let { return Result.Answered(it.value, record) }
        if (asked.step == Step.RETURN_SESSION) return Result.Finished
        if (asked.step == Step.RETURN_STEP && asked.refused != null) return Result.Next(stepAfter(core, asked.refused, record))
        if (asked.refused?.code == "invalid_session") dropPending(core, pending.attempt) // Log in again, with the password.
        throw asked.error()
    }

    override fun toString(): String = "LoginStep(factors=$factors, enrol=$enrol)"
}
