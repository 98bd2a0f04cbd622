package baton.client

// Base URLs, paths, queries and keys of calls. The signed URL must be the sent URL, so this client parses URLs itself:
// platforms resolve dot segments and rewrite hosts, each in another way.

private val URL_SHAPE = Regex("([Hh][Tt][Tt][Pp][Ss]?)://(\\[[0-9A-Fa-f:.]+]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?(/[^?#]*)?")
private val HEX = Regex("[0-9A-Fa-f]{2}")
private val DOTS = Regex("(?:\\.|%2[Ee]){1,2}")
private val LABELS = Regex("(?!-)[a-z0-9_-]+(?<!-)(?:\\.(?!-)[a-z0-9_-]+(?<!-))*")
private val NUMERIC = Regex("(?:.*\\.)?(?:[0-9]+|0x[0-9a-f]*)\\.?") // Platforms read this as IPv4.
private const val OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
private val IPV4 = Regex("$OCTET(?:\\.$OCTET){3}")
private val GROUP = Regex("[0-9a-f]{1,4}")
private val KEY = Regex("[!#-\\[\\]-~]{16,128}")
private val LOCAL = listOf("localhost", "127.0.0.1", "[::1]")
private const val ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
private const val UNRESERVED = "$ALNUM-._*"
private const val IN_PATHS = "$ALNUM-._~!$&'()*+,;=:@/"

/**
 * A base URL. [origin] is `https://host[:port]`, as it is sent. [authority] is the host and the port, if it is not the
 * default of the scheme. [prefix] is the path, without trailing slashes.
 */
internal data class Base(val origin: String, val authority: String, val prefix: String)

/** Read a base URL, or throw [IllegalArgumentException]: it is an error of the program. [plainHttp] is for an emulator. */
internal fun readBaseUrl(url: String, plainHttp: Boolean = false): Base {
    val found = URL_SHAPE.matchEntire(url)?.groupValues
    val scheme = found?.get(1).orEmpty().lowercase()
    val host = found?.get(2).orEmpty().lowercase()
    val port = found?.get(3)?.toIntOrNull()
    require(found != null && isHost(host) && (port == null || port in 1..65535)) {
        "baseUrl must be https://host[:port][/path], the host in ASCII and canonical."
    }
    require(scheme == "https" || plainHttp || host in LOCAL) {
        "baseUrl must be https. Plain http is for localhost, or for an emulator with `plainHttp`."
    }
    val prefix = found[4].trimEnd('/')
    if (prefix.isNotEmpty()) checkPath(prefix)
    val authority = if (port == null || port == (if (scheme == "https") 443 else 80)) host else "$host:$port"
    return Base("$scheme://$authority", authority, prefix)
}

private fun isHost(host: String): Boolean = when {
    host.startsWith("[") -> host.substring(1, host.length - 1).let { it == canonicalIpv6(it) }
    NUMERIC.matches(host) -> IPV4.matches(host)
    else -> host.length <= 253 && LABELS.matches(host)
}

/** Return the canonical form of an IPv6 address (RFC 5952), or null. */
private fun canonicalIpv6(address: String): String? {
    val halves = address.split("::").map { if (it.isEmpty()) emptyList() else it.split(":") }
    val count = halves.sumOf { it.size }
    if (halves.size > 2 || (if (halves.size == 2) count > 7 else count != 8)) return null
    if (!halves.flatten().all(GROUP::matches)) return null
    val all = (halves[0] + List(8 - count) { "0" } + halves.drop(1).flatten()).map { it.toInt(16) }
    val runs = all.indices.map { start -> start to all.drop(start).takeWhile { it == 0 }.size }
    val (start, length) = runs.maxBy { it.second } // The first of the longest.
    fun hex(groups: List<Int>) = groups.joinToString(":") { it.toString(16) }
    return if (length < 2) hex(all) else "${hex(all.take(start))}::${hex(all.drop(start + length))}"
}

/** Check the path of a call: RFC 3986, without dot segments, which platforms resolve. */
internal fun checkPath(path: String) {
    require(path.startsWith("/") && path.indices.all { legal(path, it) } && path.split("/").none(DOTS::matches)) {
        "A path begins with /, is percent-encoded, and has no dot segments. Use `query` for the query."
    }
}

/** Return whether this character of a path is allowed. A regular expression would recurse, once for each character. */
private fun legal(path: String, at: Int): Boolean =
    path[at] in IN_PATHS || (path[at] == '%' && at + 2 < path.length && HEX.matches(path.substring(at + 1, at + 3)))

/** Encode a name or value of the query as RFC 9421 section 2.2.8 signs it. */
internal fun percentEncoded(text: String): String = buildString {
    for (byte in utf8(text)) {
        val character = byte.toInt().toChar()
        if (character in UNRESERVED) append(character) else append('%').append((byte.toInt() and 0xff or 0x100).toString(16).substring(1).uppercase())
    }
}

internal fun encodeQuery(query: Map<String, String>): String =
    query.entries.joinToString("&") { (name, value) -> "${percentEncoded(name)}=${percentEncoded(value)}" }

/** Write an Idempotency-Key as a String (RFC 8941), or throw [IllegalArgumentException]. */
internal fun quotedKey(key: String): String {
    require(KEY.matches(key)) { "An idempotency key has 16 to 128 visible ASCII characters, without quotes and backslashes." }
    return "\"$key\""
}
