package baton.client

import java.math.BigInteger
import java.security.KeyFactory
import java.security.KeyPairGenerator
import java.security.PrivateKey
import java.security.Signature
import java.security.interfaces.ECPrivateKey
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.PKCS8EncodedKeySpec

/**
 * P-256 keys in the record, as PKCS #8. Their protection is that of the storage. The format is that of the other clients:
 * the public key follows the private key (RFC 5915). The JCA leaves it out.
 */
public class SoftwareKeys : DeviceKeys {
    override fun create(): CreatedKey {
        val pair = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
        val point = (pair.public as ECPublicKey).w
        val bytes = HEAD + octets((pair.private as ECPrivateKey).s) + BETWEEN + octets(point.affineX) + octets(point.affineY)
        val data = base64(bytes)
        return CreatedKey(STORE, data, signerOf(pair.private, publicPart(data)))
    }

    /** A key of another store throws: it is an error of the program, and ends no login. */
    override fun open(key: StoredKey): Signer {
        require(key.store == STORE) { "This key is in the store ${key.store}." }
        val jwk = publicPart(key.data)
        return signerOf(KeyFactory.getInstance("EC").generatePrivate(PKCS8EncodedKeySpec(unbase64(key.data))), jwk)
    }

    override fun remove(key: StoredKey) {
        // The key is only in the record.
    }

    private fun signerOf(key: PrivateKey, public: PublicJwk) = object : Signer {
        override val jwk = public

        override fun sign(message: ByteArray): ByteArray {
            val signature = Signature.getInstance("SHA256withECDSA")
            signature.initSign(key)
            signature.update(message)
            return rawSignature(signature.sign())
        }
    }

    private companion object {
        const val STORE = "pkcs8"
        val HEAD = bytes("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
        val BETWEEN = bytes("a14403420004")

        fun bytes(hex: String) = hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

    }
}

/** Return the members of a public key of P-256. */
public fun publicJwk(key: ECPublicKey): PublicJwk = PublicJwk("P-256", "EC", base64url(octets(key.w.affineX)), base64url(octets(key.w.affineY)))

/** Write a number in 32 bytes. */
private fun octets(number: BigInteger): ByteArray {
    val raw = number.toByteArray()
    return ByteArray(32).also { raw.copyInto(it, maxOf(0, 32 - raw.size), maxOf(0, raw.size - 32)) }
}
