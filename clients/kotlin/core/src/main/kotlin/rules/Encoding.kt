package baton.client

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction
import java.security.MessageDigest
import java.security.SecureRandom
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec
import kotlin.io.encoding.Base64

// Bytes, text, base64, digests and random names. `java.util.Base64` is not in API level 23 of Android.

private val random = SecureRandom()
private val plain = Base64.Default.withPadding(Base64.PaddingOption.PRESENT_OPTIONAL)
private val forUrls = Base64.UrlSafe.withPadding(Base64.PaddingOption.ABSENT)

internal fun utf8(text: String): ByteArray = text.toByteArray(Charsets.UTF_8)

/** Decode strict UTF-8, or throw [CharacterCodingException]. */
internal fun textOf(bytes: ByteArray): String =
    Charsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT).onUnmappableCharacter(CodingErrorAction.REPORT)
        .decode(ByteBuffer.wrap(bytes)).toString()

internal fun base64(bytes: ByteArray): String = Base64.Default.encode(bytes)

internal fun base64url(bytes: ByteArray): String = forUrls.encode(bytes)

/** Decode base64 or base64url, or throw [IllegalArgumentException]. */
internal fun unbase64(text: String): ByteArray = plain.decode(text.replace('-', '+').replace('_', '/'))

/** Draw 128 random bits: an attempt or a nonce. */
internal fun randomName(): String = base64url(ByteArray(16).also(random::nextBytes))

internal fun sha256(bytes: ByteArray): ByteArray = MessageDigest.getInstance("SHA-256").digest(bytes)

internal fun hmac(secret: ByteArray, message: ByteArray): ByteArray =
    Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(secret, "HmacSHA256")) }.doFinal(message)
