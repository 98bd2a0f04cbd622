package baton.client.android

import android.security.KeyStoreException
import android.security.keystore.KeyPermanentlyInvalidatedException
import baton.client.BASE
import baton.client.Baton
import baton.client.Binding
import baton.client.EMAIL
import baton.client.FakeServer
import baton.client.LoggedOut
import baton.client.NAME
import baton.client.NoAnswer
import baton.client.Options
import baton.client.PASSWORD
import baton.client.Revocation
import baton.client.State
import baton.client.Transport
import baton.client.expire
import baton.client.failure
import baton.client.kindOf
import baton.client.test
import baton.stubs.Phone
import java.io.File
import java.security.ProviderException
import java.security.UnrecoverableKeyException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

/** The client on a phone: what happens to it, and that no honest person is logged out. */
@Timeout(60)
class AndroidTest {
    @TempDir
    lateinit var files: File
    private val server = FakeServer()

    @BeforeEach
    fun begin() = FakeKeyStore.reset()

    /** Start the app, or another process of it, with the files of a phone. */
    private fun app(phone: String = "a", transport: Transport = server.transport): Baton =
        androidBaton(FakeContext(File(files, phone)), BASE, "mobile", transport, Options(clock = { server.time }, random = { 0.5 }, sleep = {}))

    private suspend fun loggedIn() = app().also { it.login(EMAIL, PASSWORD, NAME) }

    private fun storage(phone: String = "a") = AndroidStorage(FakeContext(File(files, phone)), "mobile")

    private fun copied(from: String, to: String) {
        File(files, to).deleteRecursively()
        File(files, from).copyRecursively(File(files, to))
    }

    private suspend fun exchanged(client: Baton, times: Int = 1) = repeat(times) {
        expire(storage())
        client.me()
    }

    @Test
    fun `50 callers with an expired token - one exchange, 50 answers, also among two processes one child`() = test {
        val client = loggedIn()
        expire(storage())
        List(50) { async(Dispatchers.Default) { client.me() } }.awaitAll()
        assertEquals(1, server.sent("/oauth/token").size)
        expire(storage())
        val other = app()
        List(50) { at -> async(Dispatchers.Default) { (if (at % 2 == 0) client else other).me() } }.awaitAll()
        assertEquals(2, server.lineage().generation)
        assertTrue(server.sent("/oauth/token").size <= 3)
        assertEquals(1, FakeKeyStore.entries.size)
    }

    @Test
    fun `killed while the answer is on its way - the next process gets the same child`() = test {
        loggedIn()
        expire(storage())
        val held = CompletableDeferred<Unit>()
        server.faults += { request ->
            server.serve(request)
            held.complete(Unit)
            CompletableDeferred<Nothing>().await()
        }
        val killed = app()
        val caller = launch(Dispatchers.Default) { runCatching { killed.me() } }
        held.await()
        killed.close() // What it would have done next does not happen.
        caller.cancel()
        assertNotNull(app().me())
        assertEquals(1, server.lineage().generation)
    }

    @Test
    fun `killed between the key and its record - the next login makes a key, and the other one is swept`() = test {
        AndroidKeys(storage(), "mobile").create()
        FakeKeyStore.entries.values.single().created = java.util.Date(0)
        loggedIn()
        assertEquals(setOf(storage().read().key!!.data), FakeKeyStore.entries.keys.toSet())
    }

    @Test
    fun `a backup on another phone - the key is not there, so nothing of it is sent`() = test {
        val client = loggedIn()
        copied("a", "b")
        FakeKeyStore.entries.clear() // The other phone has its own hardware.
        val count = server.log.size
        assertEquals("key_lost", (failure { app("b").me() } as LoggedOut).reason)
        assertEquals(count, server.log.size)
        client.close()
    }

    @Test
    fun `a restored backup on the same phone - one generation old continues, older is a copy, and the hardware key stays`() = test {
        val client = loggedIn()
        copied("a", "backup")
        exchanged(client)
        copied("backup", "a")
        expire(storage())
        assertNotNull(app().me())
        copied("a", "backup")
        exchanged(app(), 2)
        copied("backup", "a")
        expire(storage())
        val key = storage().read().key
        val ended = failure { app().me() } as LoggedOut
        assertEquals(listOf("reuse", true), listOf(ended.reason, ended.confirmed))
        assertEquals(emptyList<Revocation>(), storage().read().revocations)
        assertEquals(key, storage().read().key, "no copy of the record has this key")
        assertEquals(State.SignedOut("reuse", server.time), app().state())
        loggedIn()
    }

    @Test
    fun `a captive portal - nothing succeeds, nothing ends`() = test {
        val client = loggedIn()
        expire(storage())
        server.fail(server.portal)
        assertEquals("offline", kindOf { client.me() })
        assertEquals("offline", kindOf { client.login("bob@example.com", PASSWORD, NAME) })
        server.online()
        assertNotNull(client.me())
    }

    @Test
    fun `the phone was not unlocked since its start - unavailable, nothing is sent, nothing ends`() = test {
        val client = loggedIn()
        val count = server.log.size
        Phone.unlocked = false
        for (work in listOf<suspend () -> Any?>({ client.me() }, { client.state() }, { client.logout() }, { app().login(EMAIL, PASSWORD, NAME) }))
            assertEquals("storage_unavailable", kindOf(work))
        assertEquals(count, server.log.size)
        Phone.unlocked = true
        assertNotNull(client.me())
    }

    @Test
    fun `a key store that is locked or busy - unavailable, nothing is sent, nothing ends`() = test {
        val client = loggedIn()
        val count = server.log.size
        val passing = UnrecoverableKeyException().initCause(KeyStoreException("busy", true)) as Exception
        for (trouble in listOf(ProviderException("locked"), passing)) {
            FakeKeyStore.troubles += List(3) { trouble }
            assertEquals("storage_unavailable", kindOf { client.me() })
        }
        FakeKeyStore.signTrouble = ProviderException("too many operations")
        assertEquals("storage_unavailable", kindOf { client.me() })
        assertEquals(count, server.log.size)
        FakeKeyStore.signTrouble = null
        assertNotNull(client.me())
    }

    @Test
    fun `the key is lost for ever - logged out with the reason, and the next login makes one`() = test {
        val losses = listOf(
            { FakeKeyStore.entries.clear() },
            { FakeKeyStore.troubles += UnrecoverableKeyException().initCause(KeyPermanentlyInvalidatedException()) as Exception },
            { FakeKeyStore.signTrouble = KeyPermanentlyInvalidatedException() },
        )
        for (lose in losses) {
            val client = loggedIn()
            val before = storage().read().key!!
            lose()
            assertEquals("key_lost", (failure { client.me() } as LoggedOut).reason)
            assertNull(storage().read().key)
            FakeKeyStore.signTrouble = null
            client.login(EMAIL, PASSWORD, NAME)
            assertNotEquals(before.data, storage().read().key!!.data)
        }
    }

    @Test
    fun `a logout without a network is sent by the next process`() = test {
        val client = loggedIn()
        server.fail { throw NoAnswer("no network", false) }
        assertEquals(false, client.logout().confirmed)
        server.online()
        loggedIn()
        assertEquals(listOf("logout", null), server.lineages.values.map { it.ended })
    }

    @Test
    fun `a phone has a key store, so no secret is in the record`() = test {
        assertThrows(IllegalArgumentException::class.java) { androidBaton(FakeContext(files), BASE, "mobile", server.transport, Options(Binding.HMAC)) }
        loggedIn()
        val text = File(files, "a/no_backup/baton/mobile/record.json").readText()
        assertTrue("\"store\":\"keystore\"" in text && "\"secret\":null" in text)
    }
}
