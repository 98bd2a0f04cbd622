package baton.client

import kotlin.time.Duration.Companion.seconds

const val TIME = 1_800_000_000.0
private const val ADDRESS = "https://api.example.com/api"
private val PATHS = mapOf("call" to "/things", "register" to "/register", "login" to "/login", "factor" to "/login/factor", "exchange" to "/oauth/token")

class Slept(val seconds: Double)

class Sent(val path: String, val attempt: String?, val token: String?, val signature: String?)

/** What the client did after the last answer of a script. */
class Played(val events: List<Any>, val value: Any?, val error: BatonException?, val last: Sent?, val record: DeviceRecord, val left: Int)

private class Stop : Exception()

private fun baton(vararg members: Pair<String, Any?>): RawAnswer {
    val headers = mapOf("baton-request-id" to "0123abcd-ef", "content-type" to "application/json", "baton-time" to "1800000000", "cache-control" to "no-store")
    return RawAnswer(200, headers, Json.write(mapOf(*members)).toByteArray())
}

/** Play the script of a vector of `attempts.json` on a real client. */
suspend fun play(run: Vector): Played {
    val verb = run.text("verb")
    val keys = SoftwareKeys()
    val made = keys.create()
    val session = Session("d1", "t1", "t1", if (verb == "exchange") TIME else TIME + 900, "attempt-of-token-1", thumbprint(made.signer.jwk), null)
    val pending = Pending("login", EMAIL, "mobile", "key", "attempt-of-a-login", "as.1")
    val begun = DeviceRecord(key = StoredKey(made.store, made.data, made.signer.jwk))
    val storage = MemoryStorage(
        when (verb) {
            "call", "exchange" -> begun.copy(session = session)
            "factor" -> begun.copy(pending = pending)
            else -> begun
        },
    )
    val answers = ArrayDeque((run["answers"] as List<*>).map { Vector(it as Map<*, *>) })
    val events = mutableListOf<Any>()
    var last: Sent? = null
    var newer = 0

    fun otherProcess(what: Any?) {
        val moved = session.copy(accessToken = "newer-${++newer}", renewal = "newer-$newer", attempt = "attempt-of-newer-$newer", expiresAt = TIME + 900)
        if (what == "moved") storage.update { it.copy(session = moved) }
        if (what == "finished") storage.update { it.copy(pending = null, session = moved.copy(deviceId = "other")) }
    }

    val transport = Transport { request, _ ->
        val path = request.url.removePrefix(ADDRESS)
        val headers = request.headers
        val sent = Sent(path, headers["idempotency-key"], headers["authorization"], headers["signature-input"])
        if (answers.isEmpty()) {
            events += sent
            throw Stop()
        }
        if (path == "/step-up") return@Transport baton("grant" to "g", "expires_in" to 300L)
        if (path != PATHS[verb]) return@Transport baton("access_token" to "t2", "refresh_token" to "t2", "expires_in" to 900L)
        last = sent
        val (answer, storageOf) = answers.removeFirst().run { get("answer") to get("storage") }
        otherProcess(storageOf)
        if (answer is String) throw NoAnswer(answer, answer != "not_sent")
        rawAnswer(Vector(answer as Map<*, *>))
    }
    val options = Options(clock = { TIME }, random = { 0.5 }, sleep = { if (answers.isEmpty()) events += Slept(it) })
    val client = Baton(ADDRESS, "mobile", storage, keys, transport, options)

    val deadline = run.number("deadline").seconds
    val key = if (run["keyed"] == true) "0123456789abcdef" else null
    var value: Any? = null
    var failed: BatonException? = null
    try {
        value = when (verb) {
            "call" -> client.call(
                run.text("method"), "/things", idempotencyKey = key, repeat = if (run["repeat"] == true) true else null, deadline = deadline,
                confirm = if (run["confirm"] == true) confirm else null,
            )
            "exchange" -> client.call("GET", "/things", deadline = deadline)
            "factor" -> client.pendingStep()!!.prove(Proof(totp = "123456"), deadline = deadline)
            "register" -> client.register(EMAIL, "word", "d", deadline = deadline)
            else -> client.login(EMAIL, "word", "d", deadline = deadline)
        }
    } catch (_: Stop) {
        // The script is over.
    } catch (error: BatonException) {
        failed = error
    } finally {
        client.close()
    }
    return Played(events, value, failed, last, storage.read(), answers.size)
}
