package baton.client.android

import android.os.Build
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyPermanentlyInvalidatedException
import android.security.keystore.KeyProperties
import baton.client.CreatedKey
import baton.client.DeviceKeys
import baton.client.KeyLost
import baton.client.PublicJwk
import baton.client.Signer
import baton.client.Storage
import baton.client.StoredKey
import baton.client.publicJwk
import baton.client.rawSignature
import java.security.GeneralSecurityException
import java.security.KeyPairGenerator
import java.security.KeyStore
import java.security.PrivateKey
import java.security.ProviderException
import java.security.SecureRandom
import java.security.Signature
import java.security.UnrecoverableKeyException
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec

private const val PROVIDER = "AndroidKeyStore"
private const val STORE = "keystore"
private const val SLOWEST = 150_000_000L // Nanoseconds. Every call is signed, so a slower key would delay each call.
private const val LEFT_OVER = 3_600_000L // Milliseconds. A younger key without a record may be one that another process makes now.

/**
 * P-256 keys of the Android key store: in a StrongBox that is fast enough, otherwise in the trusted execution environment.
 * A private key never leaves this hardware. No key requires a fingerprint, because an exchange may run in the background.
 *
 * [storage] has the names of the keys in use: [create] deletes older keys of this [name]. [time] is in nanoseconds.
 */
public class AndroidKeys(
    private val storage: Storage,
    name: String,
    private val time: () -> Long = System::nanoTime,
    private val pause: (milliseconds: Long) -> Unit = Thread::sleep,
) : DeviceKeys {
    private val prefix = "baton.${nameOf(name)}."

    override fun create(): CreatedKey {
        deleteLeftOver()
        val alias = prefix + ByteArray(8).also(SecureRandom()::nextBytes).joinToString("") { (it.toInt() and 0xff or 0x100).toString(16).drop(1) }
        return inStrongBox(alias) ?: generated(alias, strongBox = false)
    }

    /**
     * Null only if the key does not exist any more. Android throws [UnrecoverableKeyException] also for a busy or restarted
     * key store. So this exception counts only after the third time, and not if Android calls it transient.
     */
    override fun open(key: StoredKey): Signer? {
        require(key.store == STORE) { "This key is in the store ${key.store}." }
        val pauses = listOf(200L, 1000L).iterator()
        while (true) {
            try {
                return opened(key.data)
            } catch (error: Exception) {
                if (permanent(error)) return null
                if (!unrecoverable(error) || transient(error)) throw error
                if (!pauses.hasNext()) return null
                pause(pauses.next())
            }
        }
    }

    override fun remove(key: StoredKey) {
        if (key.store == STORE) keyStore().deleteEntry(key.data)
    }

    private fun opened(alias: String): Signer? {
        val store = keyStore()
        val private = store.getKey(alias, null) as PrivateKey? ?: return null
        val public = store.getCertificate(alias)?.publicKey as ECPublicKey? ?: return null
        return KeySigner(private, publicJwk(public))
    }

    private fun inStrongBox(alias: String): CreatedKey? {
        if (Build.VERSION.SDK_INT < 28) return null
        try {
            val key = generated(alias, strongBox = true)
            if (List(3) { timed(key.signer) }.sorted()[1] <= SLOWEST) return key
        } catch (_: ProviderException) {
            // Such as StrongBoxUnavailableException. Some phones have a StrongBox that fails in other ways.
        } catch (_: GeneralSecurityException) {
        }
        runCatching { keyStore().deleteEntry(alias) }
        return null
    }

    private fun timed(signer: Signer): Long {
        val began = time()
        signer.sign(ByteArray(32))
        return time() - began
    }

    private fun generated(alias: String, strongBox: Boolean): CreatedKey {
        val wanted = KeyGenParameterSpec.Builder(alias, KeyProperties.PURPOSE_SIGN)
            .setAlgorithmParameterSpec(ECGenParameterSpec("secp256r1"))
            .setDigests(KeyProperties.DIGEST_SHA256)
        if (strongBox) wanted.setIsStrongBoxBacked(true)
        val pair = KeyPairGenerator.getInstance(KeyProperties.KEY_ALGORITHM_EC, PROVIDER).apply { initialize(wanted.build()) }.generateKeyPair()
        return CreatedKey(STORE, alias, KeySigner(pair.private, publicJwk(pair.public as ECPublicKey)))
    }

    /** Delete the keys that no record has. An app that was killed before it stored the name of its key leaves such a key. */
    private fun deleteLeftOver() {
        val record = storage.read()
        val used = (record.revocations.map { it.key } + record.key).mapNotNull { it?.data }
        val store = keyStore()
        for (alias in store.aliases().toList()) {
            if (!alias.startsWith(prefix) || alias in used) continue
            val age = System.currentTimeMillis() - (store.getCreationDate(alias)?.time ?: continue)
            if (age > LEFT_OVER) runCatching { store.deleteEntry(alias) } // A key without a record does no harm.
        }
    }

    private fun keyStore(): KeyStore = KeyStore.getInstance(PROVIDER).apply { load(null) }

    private class KeySigner(private val key: PrivateKey, override val jwk: PublicJwk) : Signer {
        override fun sign(message: ByteArray): ByteArray =
            try {
                // No provider is named: the JCA finds the provider of the key.
                val signature = Signature.getInstance("SHA256withECDSA")
                signature.initSign(key)
                signature.update(message)
                rawSignature(signature.sign())
            } catch (error: Exception) {
                throw if (permanent(error)) KeyLost(error) else error
            }
    }
}

private fun causes(error: Throwable) = generateSequence(error) { it.cause }.take(8)

private fun permanent(error: Throwable) = causes(error).any { it is KeyPermanentlyInvalidatedException }

private fun unrecoverable(error: Throwable) = causes(error).any { it is UnrecoverableKeyException }

private fun transient(error: Throwable) =
    Build.VERSION.SDK_INT >= 33 && causes(error).any { it is android.security.KeyStoreException && it.isTransientFailure }
