package baton.client

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

private val SAFE = listOf("GET", "HEAD", "OPTIONS")
private val METHOD = Regex("[A-Z]+")

internal class CallOptions(
    val json: Any? = null,
    val body: ByteArray? = null,
    val contentType: String? = null,
    val query: Map<String, String> = emptyMap(),
    val grant: String? = null,
    val confirm: Confirm? = null,
    val idempotencyKey: String? = null,
    val repeat: Boolean? = null,
    val deadline: Duration? = DEADLINE,
    /** Called after each step-up. */
    val granted: () -> Unit = {},
)

/** A signed call with a usable token. It applies each remedy that a refusal names. [team]: a route of the app. */
internal suspend fun <T> call(core: Core, method: String, path: String, o: CallOptions, read: (Read.Ours) -> T, team: Boolean): T {
    checkPath(path)
    require(METHOD.matches(method)) { "A method is written in capitals." }
    val key = o.idempotencyKey?.let(::quotedKey)
    val body = bodyOf(o.json, o.body) // Encoded once: a repetition has the same bytes.
    val repeatable = o.repeat ?: (method in SAFE || key != null)
    val stepUpAttempt = randomName() // With this attempt, the same code may be sent again.
    var grant = o.grant
    var patience = core.patience(o.deadline)
    var exchanged = false
    var continued = false
    var grants = 0
    var proof: Proof? = null
    var used: Session? = null

    suspend fun prepare(created: Double): Prepared {
        val record = core.read() // Rule 2: after `created` was taken, before every request.
        val session = sessionOf(record).also { used = it }
        val fields = buildMap {
            put("authorization", "Bearer ${session.accessToken}")
            key?.let { put("idempotency-key", it) }
            grant?.let { put("baton-grant", it) }
        }
        return core.prepared(Plan(method, path, body, o.contentType, o.query, fields, team), created, core.signer(record))
    }

    suspend fun facts() = Facts(
        moved = !same(core.read().session, used), renewable = used?.renewal != null, confirm = o.confirm != null,
        exchanged = exchanged, continued = continued, grants = grants,
    )

    while (true) {
        usable(core, patience) // Rule 7.
        val asked = ask(core, Question(Verb.CALL, repeatable, ::prepare, read, key != null, ::facts), patience)
        asked.success?.let { return it.value }
        val refused = asked.refused ?: throw asked.error()
        val session = used ?: throw refused
        when (asked.step) {
            Step.EXCHANGE -> {
                exchanged = true
                exchange(core, session, patience)
            }
            Step.STEP_UP -> {
                grants++
                if (grant != null && refused.code == "step_up_required") proof = null // It is too old: ask again.
                val shown = proof ?: o.confirm!!(Demand(refused) { stepUpOptions(core, method, path, body, o.deadline) })
                proof = shown
                patience = core.patience(o.deadline) // The person's time for the input does not count.
                grant = stepUp(core, shown, method, path, body, stepUpAttempt, if (o.deadline == null) null else patience.left().seconds)
                o.granted()
            }
            Step.READ_STORAGE, Step.LOGGED_OUT -> {
                continued = true
                sessionAfter(core, refused, session) // It throws, unless storage has a newer session.
            }
            else -> throw refused
        }
    }
}

internal fun bodyOf(json: Any?, body: ByteArray?): ByteArray {
    require(json == null || body == null) { "Give `json` or `body`, not both." }
    return body ?: if (json == null) ByteArray(0) else utf8(Json.write(json))
}

/** Prove a factor for one exact request. Return the grant. */
internal suspend fun stepUp(
    core: Core, proof: Proof, method: String, path: String, body: ByteArray, attempt: String, deadline: Duration? = DEADLINE,
): String {
    val json = mapOf("operation" to operation(core, method, path, body)) + proof.members()
    val options = CallOptions(json = json, idempotencyKey = attempt, deadline = deadline)
    return call(core, "POST", "/step-up", options, having("grant" to Kind.STRING), false).text("grant")
}

/** Return the options of a passkey for one exact request. */
private suspend fun stepUpOptions(core: Core, method: String, path: String, body: ByteArray, deadline: Duration?): Map<String, Any?> {
    val options = CallOptions(json = mapOf("operation" to operation(core, method, path, body)), repeat = true, deadline = deadline)
    return objectOf(call(core, "POST", "/step-up/options", options, having("options" to Kind.OBJECT), false)["options"])!!
}

private fun operation(core: Core, method: String, path: String, body: ByteArray) =
    mapOf("method" to method, "path" to core.base.prefix + path, "digest" to contentDigest(body))
