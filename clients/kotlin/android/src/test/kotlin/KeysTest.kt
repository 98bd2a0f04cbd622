package baton.client.android

import android.security.KeyStoreException
import android.security.keystore.KeyPermanentlyInvalidatedException
import android.security.keystore.KeyProperties
import android.security.keystore.StrongBoxUnavailableException
import baton.client.DeviceRecord
import baton.client.KeyLost
import baton.client.MemoryStorage
import baton.client.Revocation
import baton.client.StoredKey
import baton.client.android.FakeKeyStore.entries
import baton.client.failure
import baton.client.test
import java.security.ProviderException
import java.security.SignatureException
import java.security.UnrecoverableKeyException
import java.util.Date
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource

private const val MILLISECOND = 1_000_000L

/** Keys of the key store of Android, over a fake provider of this name. */
class KeysTest {
    private val storage = MemoryStorage()
    private val paused = mutableListOf<Long>()
    private val keys = AndroidKeys(storage, "mobile", { FakeKeyStore.time }, { paused += it })

    @BeforeEach
    fun begin() = FakeKeyStore.reset()

    private fun made() = keys.create().run { StoredKey(store, data, signer.jwk) }

    private fun strong() = FakeKeyStore.strong(entries.values.single().wanted)

    @Test
    fun `a key signs with SHA-256 only, without a fingerprint, and has a name of its own`() {
        val key = keys.create()
        assertTrue(Regex("baton\\.mobile\\.[0-9a-f]{16}").matches(key.data))
        assertEquals("keystore", key.store)
        val wanted = entries.getValue(key.data).wanted
        assertEquals(listOf(KeyProperties.PURPOSE_SIGN, listOf("SHA-256"), false), listOf(wanted.purposes, wanted.digests.toList(), wanted.isUserAuthenticationRequired))
        assertEquals(64, key.signer.sign("x".toByteArray()).size)
        val again = keys.open(StoredKey(key.store, key.data, null))!!
        assertEquals(key.signer.jwk, again.jwk)
        assertEquals(64, again.sign("x".toByteArray()).size)
        keys.remove(StoredKey(key.store, key.data, null))
        assertNull(keys.open(StoredKey(key.store, key.data, null)))
    }

    @Test
    fun `StrongBox, where it is there`() {
        made()
        assertTrue(strong())
    }

    @ParameterizedTest
    @ValueSource(ints = [23, 27])
    fun `no StrongBox below level 28 - it is not even asked`(level: Int) {
        FakeKeyStore.reset(level)
        val key = made()
        assertFalse(strong())
        assertNotNull(keys.open(key))
    }

    @Test
    fun `a StrongBox that is not there, that fails, or that fails at the first signature`() {
        for (trouble in listOf(StrongBoxUnavailableException(), ProviderException("busy"))) {
            FakeKeyStore.reset()
            FakeKeyStore.strongBox = { throw trouble }
            made()
            assertFalse(strong())
        }
        FakeKeyStore.reset()
        FakeKeyStore.strongBox = { FakeKeyStore.signTrouble = SignatureException("no") }
        FakeKeyStore.slowness = emptyList()
        val key = AndroidKeys(storage, "mobile").create()
        FakeKeyStore.signTrouble = null
        assertFalse(strong())
        assertNotNull(keys.open(StoredKey(key.store, key.data, null)))
    }

    @Test
    fun `three signatures are timed - a slow StrongBox is not used, one slow signature is nothing`() {
        FakeKeyStore.slowness = listOf(151, 20, 151).map { it * MILLISECOND }
        made()
        assertFalse(strong())
        FakeKeyStore.reset()
        FakeKeyStore.slowness = listOf(3000, 150, 149).map { it * MILLISECOND }
        made()
        assertTrue(strong())
    }

    @Test
    fun `a key that is gone - null, without a pause`() {
        val key = made()
        entries.clear()
        assertNull(keys.open(key))
        assertEquals(emptyList<Long>(), paused)
    }

    @Test
    fun `a key that Android has invalidated for ever - null, on itself or as a cause`() {
        val key = made()
        for (error in listOf(
            UnrecoverableKeyException().initCause(KeyPermanentlyInvalidatedException()) as Exception,
            ProviderException(KeyPermanentlyInvalidatedException()),
        )) {
            FakeKeyStore.troubles += error
            assertNull(keys.open(key))
        }
        FakeKeyStore.signTrouble = KeyPermanentlyInvalidatedException()
        assertThrows(KeyLost::class.java) { keys.open(key)!!.sign("x".toByteArray()) }
        assertEquals(emptyList<Long>(), paused)
    }

    @Test
    fun `a key that cannot be recovered is lost after the third time only`() {
        val key = made()
        FakeKeyStore.troubles += List(2) { UnrecoverableKeyException("System error") }
        assertNotNull(keys.open(key))
        assertEquals(listOf(200L, 1000L), paused)
        FakeKeyStore.troubles += List(3) { UnrecoverableKeyException("System error") }
        assertNull(keys.open(key))
    }

    @Test
    fun `trouble that passes is not a loss, however often it comes`() = test {
        val key = made()
        val passing = UnrecoverableKeyException().initCause(KeyStoreException("busy", true)) as Exception
        for (error in listOf(passing, ProviderException("locked"))) {
            FakeKeyStore.troubles += error
            assertEquals(error, failure { keys.open(key) })
        }
        FakeKeyStore.signTrouble = ProviderException("too many operations")
        assertEquals("too many operations", failure { keys.open(key)!!.sign(ByteArray(1)) }.message)
    }

    @Test
    fun `below level 33 nothing tells what passes - so three times count`() {
        FakeKeyStore.reset(32)
        val key = made()
        FakeKeyStore.troubles += List(3) { UnrecoverableKeyException().initCause(KeyStoreException("busy", true)) as Exception }
        assertNull(keys.open(key))
    }

    @Test
    fun `left-over keys are deleted - not those of a record, of a revocation, of another client, or new ones`() {
        val (current, revoked, old, new) = List(4) { made() }
        val other = AndroidKeys(storage, "other").create().data
        storage.update { DeviceRecord(key = current, revocations = listOf(Revocation("t", "k", null, 0.0, revoked))) }
        for (name in listOf(current.data, revoked.data, old.data, other)) entries.getValue(name).created = Date(System.currentTimeMillis() - 7_200_000)
        val made = made()
        assertEquals(setOf(current.data, revoked.data, new.data, other, made.data), entries.keys.toSet())
    }

    @Test
    fun `a key of another store is an error of the program`() {
        assertThrows(IllegalArgumentException::class.java) { keys.open(StoredKey("pkcs8", "x", null)) }
        assertThrows(IllegalArgumentException::class.java) { AndroidKeys(storage, "a/b") }
    }
}
