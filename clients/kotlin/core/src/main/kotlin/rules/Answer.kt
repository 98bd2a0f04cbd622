package baton.client

import java.nio.charset.CharacterCodingException

// Rule 9: an answer that is not Baton's is no answer. It is never a success, ends no login and moves no clock.

private val REQUEST_ID = Regex("[0-9A-Za-z-]{8,64}")
private val SECONDS = Regex("[0-9]{1,12}")

/** A 2xx answer. The names of its headers are in lower case. */
public class Answer internal constructor(
    public val status: Int,
    public val headers: Map<String, String>,
    public val bytes: ByteArray,
) {
    /** Parse the body as JSON, see [Json]. */
    public fun json(): Any? = Json.parse(textOf(bytes))

    override fun toString(): String = "Answer(status=$status)"
}

internal class Refusal(
    val status: Int,
    val error: String,
    val code: String,
    val action: String,
    val reason: String?,
    val retryAfter: Double,
    val problem: Map<String, Any?>,
)

internal sealed interface Read {
    class Foreign(val why: String) : Read

    class Ours(val answer: Answer, val members: Map<String, Any?>, val refusal: Refusal?) : Read
}

/** Read an answer of Baton, or return why it is not Baton's. [team]: a route of the app, which may send any media type. */
internal fun readAnswer(raw: RawAnswer, url: String, method: String, team: Boolean): Read {
    val headers = raw.headers
    val status = raw.status
    val bytes = raw.bytes
    val media = headers["content-type"].orEmpty().substringBefore(';').trim().lowercase()
    val isJson = media == "application/json" || media == "application/problem+json"
    val said = "$status $media".trim()
    if (!REQUEST_ID.matches(headers["baton-request-id"].orEmpty()))
        return Read.Foreign("$said without Baton-Request-Id, perhaps from a captive portal, a firewall or a proxy")
    if (raw.url != null && raw.url != url) return Read.Foreign("$said after a redirect")
    if (status !in 200..299 && status !in 400..599) return Read.Foreign("$said with a status that Baton does not send")
    if (!storable(headers) && (seconds(headers["age"]) ?: 0.0) > 0)
        return Read.Foreign("$said from a cache, which must not store it")
    if (headers["content-encoding"].orEmpty().lowercase() !in listOf("", "identity"))
        return Read.Foreign("$said with an encoding that was not requested")
    val empty = bytes.isEmpty() && (status < 300 || method == "HEAD")
    if (!empty && !isJson && !team) return Read.Foreign("$said which is not JSON")
    val parsed = if (empty || !isJson) Parsed(emptyMap<String, Any?>()) else parseStrictly(bytes)
    val members = objectOf(parsed?.value)
    if (parsed == null || (!team && members == null)) return Read.Foreign("$said with a body that Baton does not send")
    if (!team && status >= 400 && (members?.get("code") !is String || members["action"] !is String))
        return Read.Foreign("$said without code and action")
    val found = members ?: emptyMap()
    return Read.Ours(Answer(status, headers, bytes), found, if (status < 300) null else readRefusal(status, headers, found))
}

/** Read either dialect of refusals. A route of the app may leave out `code` and `action`: the status gives them. */
private fun readRefusal(status: Int, headers: Map<String, String>, problem: Map<String, Any?>) = Refusal(
    status,
    problem["error"] as? String ?: "",
    problem["code"] as? String ?: "http_$status",
    problem["action"] as? String ?: if (status == 429 || status >= 500) "retry" else "fix_request",
    problem["reason"] as? String,
    seconds(headers["retry-after"]) ?: 0.0,
    problem,
)

/** Return the server's time of an answer of Baton, or null. An answer with `Age` comes from a cache, and so does its time. */
internal fun serverTime(headers: Map<String, String>, members: Map<String, Any?>): Double? =
    if ("age" in headers) null
    else seconds(headers["baton-time"]) ?: if (storable(headers)) null else seconds(members["server_time"])

/** Read a time or a duration in whole seconds, or null. */
internal fun seconds(stated: Any?): Double? = when (stated) {
    is String -> stated
    is Long -> stated.toString()
    else -> ""
}.takeIf(SECONDS::matches)?.toDouble()

private fun storable(headers: Map<String, String>) = "no-store" !in headers["cache-control"].orEmpty().lowercase()

/** Return a JSON object, or null. */
@Suppress("UNCHECKED_CAST") // The parser makes string keys only.
internal fun objectOf(value: Any?): Map<String, Any?>? = value as? Map<String, Any?>

private class Parsed(val value: Any?)

/** Parse JSON in strict UTF-8, without a byte order mark and without duplicate members. Null: the bytes are not such JSON. */
private fun parseStrictly(bytes: ByteArray): Parsed? =
    try {
        Parsed(Json.parse(textOf(bytes)))
    } catch (_: IllegalArgumentException) {
        null
    } catch (_: CharacterCodingException) {
        null
    }
