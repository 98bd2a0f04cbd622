package baton.client

// HTTP Message Signatures (RFC 9421) in the profile of Baton: the tag `baton`.

private val FIELDS = listOf("content-digest", "authorization", "idempotency-key", "baton-grant")
private val PARTS = Regex("https?://([^/?#]+)([^?#]*)(?:\\?([^#]*))?")

internal class SignatureBase(val input: String, val base: String)

/** Signs requests by the key with this identifier. */
internal class RequestSigner(val keyId: String, val sign: suspend (ByteArray) -> ByteArray) {
    /** Sign, or run [lost] if the key is lost. */
    suspend fun signing(message: ByteArray, lost: suspend () -> Nothing): ByteArray =
        try {
            sign(message)
        } catch (_: KeyLost) {
            lost()
        }
}

/** Return the parameters and the signature base of a request. */
internal fun signatureBase(method: String, url: String, headers: Map<String, String>, created: Long, keyId: String, nonce: String): SignatureBase {
    val parts = requireNotNull(PARTS.matchEntire(url)) { "not a URL" }.groupValues
    val covered = mutableListOf("\"@method\"" to method, "\"@authority\"" to parts[1], "\"@path\"" to parts[2])
    for (pair in parts[3].split("&").filter(String::isNotEmpty))
        covered += "\"@query-param\";name=\"${pair.substringBefore('=')}\"" to pair.substringAfter('=', "")
    for (name in FIELDS) headers[name]?.let { covered += "\"$name\"" to it }
    val names = covered.joinToString(" ") { it.first }
    val input = "($names);created=$created;keyid=\"$keyId\";nonce=\"$nonce\";tag=\"baton\""
    return SignatureBase(input, (covered + ("\"@signature-params\"" to input)).joinToString("\n") { (name, value) -> "$name: $value" })
}

/** Sign a request. Return the two header fields to add. */
internal suspend fun signatureFields(
    method: String, url: String, headers: Map<String, String>, signer: RequestSigner, created: Long, nonce: String,
): Map<String, String> {
    val signed = signatureBase(method, url, headers, created, signer.keyId, nonce)
    val signature = base64(signer.sign(utf8(signed.base)))
    return mapOf("signature-input" to "baton=${signed.input}", "signature" to "baton=:$signature:")
}

/** Return the Content-Digest of a body (RFC 9530). */
internal fun contentDigest(body: ByteArray): String = "sha-256=:${base64(sha256(body))}:"

/** Return the thumbprint of a public key (RFC 7638). */
internal fun thumbprint(jwk: PublicJwk): String {
    val members = linkedMapOf<String, Any?>("crv" to jwk.crv, "kty" to jwk.kty, "x" to jwk.x)
    if (jwk.kty != "OKP") members["y"] = jwk.y
    return base64url(sha256(utf8(Json.write(members))))
}
