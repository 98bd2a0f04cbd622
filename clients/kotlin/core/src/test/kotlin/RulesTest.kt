package baton.client

import java.math.BigInteger
import java.net.URI
import java.security.KeyFactory
import java.security.Signature
import java.security.spec.EdECPoint
import java.security.spec.EdECPublicKeySpec
import java.security.spec.NamedParameterSpec
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

/** The shared vectors, all but attempts.json, which AttemptsTest reads. */
class RulesTest {
    /** Make a test of each vector of a file. Its name has their number, which every suite prints. */
    private fun each(file: String, check: (Vector) -> Unit): List<DynamicTest> {
        val all = vectors(file)
        assertTrue(all.isNotEmpty())
        return all.mapIndexed { at, one -> DynamicTest.dynamicTest("$file ${at + 1} of ${all.size}: $one") { check(one) } }
    }

    private fun refused(work: () -> Any?) = assertThrows(IllegalArgumentException::class.java) { work() }

    @TestFactory
    fun signatureBases() = each("signature_base") { one ->
        val made = signatureBase(
            one.text("method"), one.text("url"), one.texts("headers"), one.number("created").toLong(), one.text("key_id"), one.text("nonce"),
        )
        assertEquals(one.text("input"), made.input)
        assertEquals(one.text("base"), made.base)
        assertEquals(one.text("url").substringAfter('?', ""), encodeQuery(one.texts("query")))
    }

    @TestFactory
    fun signatures() = each("signatures") { one ->
        val base = one.text("base").toByteArray()
        val signature = unbase64(one.text("signature"))
        when (one.text("kind")) {
            "hmac" -> assertArrayEquals(signature, hmac(unbase64(one.text("key")), base))
            "p256" -> assertTrue(verified("SHA256withECDSAinP1363Format", publicKeyOf(one.texts("key")), base, signature))
            else -> assertTrue(verified("Ed25519", edwards(one.texts("key").getValue("x")), base, signature))
        }
    }

    private fun verified(name: String, key: java.security.PublicKey, base: ByteArray, signature: ByteArray) =
        Signature.getInstance(name).run {
            initVerify(key)
            update(base)
            verify(signature)
        }

    private fun edwards(x: String): java.security.PublicKey {
        val bytes = decoded(x).reversedArray()
        val odd = bytes[0] < 0
        bytes[0] = (bytes[0].toInt() and 0x7f).toByte()
        val point = EdECPoint(odd, BigInteger(1, bytes))
        return KeyFactory.getInstance("Ed25519").generatePublic(EdECPublicKeySpec(NamedParameterSpec.ED25519, point))
    }

    @TestFactory
    fun digests() = each("digest") { assertEquals(it.text("expect"), contentDigest(unbase64(it.text("body")))) }

    @TestFactory
    fun thumbprints() = each("thumbprint") { one ->
        val jwk = one.texts("jwk")
        assertEquals(one.text("expect"), thumbprint(PublicJwk(jwk.getValue("crv"), jwk.getValue("kty"), jwk.getValue("x"), jwk["y"])))
    }

    @TestFactory
    fun derSignatures() = each("der") { one ->
        val der = one.text("der").chunked(2).map { it.toInt(16).toByte() }.toByteArray()
        if ("expect" !in one) refused { rawSignature(der) }
        else assertEquals(one.text("expect"), rawSignature(der).joinToString("") { "%02x".format(it) })
    }

    @TestFactory
    fun baseUrls() = each("base_url") { one ->
        if ("refused" in one) {
            refused { readBaseUrl(one.text("url")) }
        } else {
            val base = readBaseUrl(one.text("url"))
            assertEquals(Base(one.text("origin"), one.text("authority"), one.text("prefix")), base)
            assertEquals(base.authority, URI(base.origin + base.prefix).rawAuthority)
        }
    }

    @TestFactory
    fun paths() = each("path") { one ->
        val path = one.text("path")
        if (one["accepted"] != true) {
            refused { checkPath(path) }
        } else {
            checkPath(path)
            assertEquals(path, URI("https://api.example.com$path").rawPath, "what is signed is what is sent")
        }
    }

    @TestFactory
    fun problems() = each("problems") { one ->
        val expect = one.vector("expect")
        val read = readAnswer(rawAnswer(one.vector("answer")), "https://api.example.com/api/me", "GET", one["team"] == true)
        if (expect["foreign"] == true) {
            assertTrue(read is Read.Foreign)
        } else {
            read as Read.Ours
            assertEquals(expect.number("status").toInt(), read.answer.status)
            if ("code" !in expect) {
                assertNull(read.refusal)
            } else {
                val refusal = read.refusal!!
                assertEquals(
                    listOf(expect["error"], expect["code"], expect["action"], expect["reason"], expect.number("retry_after")),
                    listOf(refusal.error, refusal.code, refusal.action, refusal.reason, refusal.retryAfter),
                )
            }
        }
    }

    @TestFactory
    fun clocks() = each("clock") { one ->
        val raw = rawAnswer(one.vector("answer"))
        val members = if (raw.bytes.isEmpty()) emptyMap() else objectOf(Json.parse(textOf(raw.bytes)))!!
        val offset = newOffset(one.number("offset"), one.number("before"), one.number("after"), serverTime(raw.headers, members))
        assertEquals(one.number("expect"), offset)
    }

    @TestFactory
    fun pauses() = each("backoff") {
        assertEquals(it.number("expect"), pauseLength(it.number("pauses").toInt(), it.number("draw"), it.number("at_least")))
    }

    @TestFactory
    fun records() = each("record") { one ->
        if (one["broken"] == true) {
            assertThrows(BrokenStorage::class.java) { readRecord(one.text("text")) }
        } else {
            val record = readRecord(one.text("text"))
            assertEquals(one["expect"], Json.parse(writeRecord(record)))
            assertEquals(record, readRecord(writeRecord(record)))
        }
    }

    @Test
    fun `a long path does not exhaust the stack`() {
        checkPath("/" + "a".repeat(100_000) + "%41".repeat(100_000))
        for (path in listOf("/%", "/%4", "/%4g", "/a%", "/a b")) refused { checkPath(path) }
    }

    @Test
    fun `base64 of every byte, with and without padding`() {
        val bytes = ByteArray(256) { it.toByte() }
        for (text in listOf(base64(bytes), base64url(bytes), base64(bytes).trimEnd('='))) assertArrayEquals(bytes, unbase64(text))
    }

    @Test
    fun `JSON is strict`() {
        for (text in listOf("", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "nul", "NaN", "'a'", "\"\n\"", "\"\\x\"", "\"\\u12\"", "1 2", "\uFEFF1", "a", "\"", "[".repeat(10_000)))
            refused { Json.parse(text) }
        refused { Json.parse("{\"a\":1,\"\\u0061\":2}") }
        val value = mapOf("a" to listOf(1L, -2.5, true, null, "é\"\\\n\u0001"), "b" to emptyMap<String, Any?>(), "c" to emptyList<Any?>())
        assertEquals(value, Json.parse(Json.write(value)))
        assertEquals(listOf(1L, 1.0, 100.0, 12345678901234567890.0, "/\b\u000c\r\té"), Json.parse(" [1, 1.0, 1e2, 12345678901234567890, \"\\/\\b\\f\\r\\t\\u00e9\"]\n"))
        refused { Json.write(Any()) }
        refused { Json.write(Double.NaN) }
    }

    @Test
    fun `a software key survives its text, and signs what the JCA verifies`() {
        val keys = SoftwareKeys()
        repeat(300) { // About one signature in 128 has a short number.
            val made = keys.create()
            val opened = keys.open(StoredKey(made.store, made.data, made.signer.jwk))
            assertEquals(made.signer.jwk, opened.jwk)
            val signature = opened.sign(utf8("message"))
            assertEquals(64, signature.size)
            val jwk = opened.jwk
            assertTrue(verified("SHA256withECDSAinP1363Format", publicKeyOf(mapOf("x" to jwk.x, "y" to jwk.y)), utf8("message"), signature))
        }
    }

    @Test
    fun `a key that another client wrote can be opened`() {
        val record = readRecord(vectors("record").first { it["name"] == "v1: a key" }.text("text"))
        assertNotNull(SoftwareKeys().open(record.key!!).sign(utf8("message")))
        refused { SoftwareKeys().open(record.key.copy(store = "keystore")) }
    }
}
