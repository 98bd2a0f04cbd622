package baton.client

// The storage record: its format, and the changes of it. Every change checks the record that it gets, because it may be applied again.

private class NotARecord(message: String) : IllegalArgumentException(message)

/** Write a record as JSON. */
public fun writeRecord(record: DeviceRecord): String = Json.write(
    linkedMapOf(
        "v" to 2L,
        "session" to record.session?.let(::sessionMembers),
        "key" to record.key?.let(::keyMembers),
        "pending" to record.pending?.let(::pendingMembers),
        "last" to record.last?.let { mapOf("key_id" to it.keyId, "secret" to it.secret) },
        "revocations" to record.revocations.map(::revocationMembers),
        "ended" to record.ended?.let { mapOf("reason" to it.reason, "at" to it.at) },
    ),
)

/** Read a record of this format or of the one before it, or throw [BrokenStorage]. */
public fun readRecord(text: String): DeviceRecord =
    try {
        val given = fields(Json.parse(text))
        val version = if ("v" in given) number(given["v"]) else 1.0
        if (version > 2) throw BrokenStorage("A newer client wrote this record. It was not changed. Update the app.")
        if (version < 1 || (version == 1.0 && !given.keys.containsAll(listOf("session", "pending", "key")))) throw NotARecord("v")
        DeviceRecord(
            session = given["session"]?.let { session(fields(it)) },
            key = given["key"]?.let { key(fields(it)) },
            pending = given["pending"]?.let { pending(fields(it)) },
            last = given["last"]?.let { fields(it).run { LastSecret(string(this["key_id"]), string(this["secret"])) } },
            revocations = list(given["revocations"] ?: emptyList<Any?>()).map(if (version == 1.0) ::oldRevocation else ::revocation),
            ended = given["ended"]?.let { fields(it).run { Ended(this["reason"]?.let(::string), number(this["at"])) } },
        )
    } catch (_: IllegalArgumentException) {
        throw BrokenStorage("The record cannot be read. It was not changed.")
    }

private fun sessionMembers(one: Session) = buildMap {
    put("device_id", one.deviceId)
    put("access_token", one.accessToken)
    if (one.renewal != one.accessToken) put("refresh_token", one.renewal)
    put("expires_at", one.expiresAt)
    put("attempt", one.attempt)
    put("key_id", one.keyId)
    put("secret", one.secret)
}

private fun session(given: Map<String, Any?>) = Session(
    deviceId = string(given["device_id"]),
    accessToken = string(given["access_token"]),
    renewal = if ("refresh_token" in given) given["refresh_token"]?.let(::string) else string(given["access_token"]),
    expiresAt = number(given["expires_at"]),
    attempt = string(given["attempt"]),
    keyId = given["key_id"]?.let(::string),
    secret = given["secret"]?.let(::string),
)

private fun keyMembers(one: StoredKey) = mapOf(
    "store" to one.store,
    "data" to one.data,
    "jwk" to one.jwk?.run { mapOf("crv" to crv, "kty" to kty, "x" to x, "y" to y) },
)

private fun key(given: Map<String, Any?>): StoredKey {
    given["pkcs8"]?.let { return StoredKey("pkcs8", string(it), publicPart(string(it))) }
    val jwk = given["jwk"]?.let { fields(it).run { PublicJwk(string(this["crv"]), string(this["kty"]), string(this["x"]), string(this["y"])) } }
    return StoredKey(string(given["store"]), string(given["data"]), jwk)
}

/** Return the public key at the end of a P-256 key in PKCS #8, as OpenSSL, WebCrypto and this client write it. */
internal fun publicPart(pkcs8: String): PublicJwk {
    val bytes = unbase64(pkcs8)
    require(bytes.size == 138 && bytes[73] == 4.toByte()) { "not a P-256 key" }
    return PublicJwk("P-256", "EC", base64url(bytes.copyOfRange(74, 106)), base64url(bytes.copyOfRange(106, 138)))
}

private fun pendingMembers(one: Pending) = buildMap {
    put("kind", one.kind)
    put("email", one.email)
    put("client_id", one.clientId)
    put("binding", one.binding)
    put("attempt", one.attempt)
    put("auth_session", one.authSession)
    one.factors?.let { put("factors", it) }
    one.enrol?.let { put("enrol", it) }
    one.expiresAt?.let { put("expires_at", it) }
}

private fun pending(given: Map<String, Any?>) = Pending(
    kind = if ("kind" in given) string(given["kind"]) else "login",
    email = string(given["email"]),
    clientId = string(given["client_id"]),
    binding = string(given["binding"]),
    attempt = string(given["attempt"]),
    authSession = given["auth_session"]?.let(::string),
    factors = if ("factors" in given) list(given["factors"]).map(::string) else null,
    enrol = if ("enrol" in given) list(given["enrol"]).map(::string) else null,
    expiresAt = if ("expires_at" in given) number(given["expires_at"]) else null,
)

private fun revocationMembers(one: Revocation) = buildMap {
    put("token", one.token)
    put("key_id", one.keyId)
    put("secret", one.secret)
    put("since", one.since)
    one.key?.let { put("key", keyMembers(it)) }
}

private fun revocation(one: Any?): Revocation = fields(one).run {
    Revocation(string(this["token"]), this["key_id"]?.let(::string), this["secret"]?.let(::string), number(this["since"]), this["key"]?.let { key(fields(it)) })
}

private fun oldRevocation(one: Any?): Revocation = fields(one).run {
    val ended = session(fields(this["session"]))
    Revocation(ended.renewal ?: ended.accessToken, ended.keyId, ended.secret, 0.0, this["key"]?.let { key(fields(it)) })
}

private fun fields(value: Any?): Map<String, Any?> = objectOf(value) ?: throw NotARecord("not an object")

private fun list(value: Any?): List<Any?> = value as? List<*> ?: throw NotARecord("not a list")

private fun string(value: Any?): String = value as? String ?: throw NotARecord("not a string")

private fun number(value: Any?): Double = (value as? Number)?.toDouble() ?: throw NotARecord("not a number")

/** Return whether both are the same generation: an attempt is made once for each token. */
internal fun same(a: Session?, b: Session?): Boolean = a?.attempt == b?.attempt

/** Hardware keys cannot be copied. Every other key may be in a copy of the device. */
private fun copyable(key: StoredKey?) = key != null && key.store != "enclave" && key.store != "keystore"

/** Return the secret that signs the next HMAC login. */
internal fun lastSecret(record: DeviceRecord): LastSecret? = record.session?.let {
    if (it.keyId != null && it.secret != null) LastSecret(it.keyId, it.secret) else null
} ?: record.last

/** Drop the session. After a copy was used, the key is not used again: the other holder may have it (rule 8). */
internal fun withoutSession(record: DeviceRecord, reason: String?, at: Double): DeviceRecord {
    val copied = (reason == "reuse" || reason == "replaced") && copyable(record.key)
    val ended = reason?.let { Ended(it, at) }
    return record.copy(session = null, key = if (copied) null else record.key, last = lastSecret(record), ended = ended)
}

/** Move the token from the session to the revocations, in one write: no crash loses the revocation. */
internal fun revoked(record: DeviceRecord, reason: String, at: Double): DeviceRecord {
    val session = record.session ?: return record
    val left = withoutSession(record, reason, at)
    val copied = if (left.key == null && session.secret == null) record.key else null
    val one = Revocation(session.renewal ?: session.accessToken, session.keyId, session.secret, at, copied)
    val waiting = record.revocations.filter { it.since == 0.0 || at - it.since < REVOCATION_LIFE }
    return left.copy(revocations = (waiting + one).takeLast(REVOCATIONS))
}
