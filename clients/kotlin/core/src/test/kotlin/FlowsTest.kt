package baton.client

import java.util.concurrent.CountDownLatch
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** Exchanges, copies, storages, keys and clocks, on the fake server. */
@Timeout(60)
class FlowsTest {
    private val server = FakeServer()

    @Test
    fun `50 callers with an expired token, on many threads - one exchange, 50 answers`() = test {
        val device = Device(server).login()
        repeat(5) {
            expire(device.storage)
            val answers = List(50) { async(Dispatchers.Default) { device.client.me() } }.awaitAll()
            assertEquals(List(50) { server.lineage().id }, answers.map { it["device_id"] })
        }
        assertEquals(5, server.sent("/oauth/token").size)
    }

    @Test
    fun `50 threads with an expired token - one exchange, 50 answers`() {
        lateinit var device: Device
        test { device = Device(server).login() }
        expire(device.storage)
        val answers = java.util.Collections.synchronizedList(mutableListOf<Any?>())
        val gate = CountDownLatch(1)
        val threads = List(50) {
            Thread {
                gate.await()
                test { answers += device.client.me()["device_id"] }
            }.apply { start() }
        }
        gate.countDown()
        threads.forEach { it.join() }
        assertEquals(List(50) { server.lineage().id }, answers.toList())
        assertEquals(1, server.sent("/oauth/token").size)
    }

    @Test
    fun `the first of 50 callers cancels - the others are answered, by the same exchange`() = test {
        val device = Device(server).login()
        expire(device.storage)
        val began = CompletableDeferred<Unit>()
        val release = CompletableDeferred<Unit>()
        server.faults += {
            began.complete(Unit)
            release.await()
            server.serve(it)
        }
        var ended: Throwable? = null
        val first = launch {
            try {
                device.client.me()
            } catch (error: CancellationException) {
                ended = error
                throw error
            }
        }
        began.await()
        val others = List(49) { async { device.client.me() } }
        first.cancelAndJoin()
        assertNotNull(ended)
        release.complete(Unit)
        others.awaitAll()
        assertEquals(1, server.sent("/oauth/token").size)
    }

    @Test
    fun `a caller with a short deadline is offline, and the exchange goes on for the others`() = test {
        val device = Device(server).login()
        expire(device.storage)
        val began = CompletableDeferred<Unit>()
        val release = CompletableDeferred<Unit>()
        server.faults += {
            began.complete(Unit)
            release.await()
            server.serve(it)
        }
        val long = async { device.client.me() }
        began.await()
        assertEquals("offline", kindOf { device.client.me(deadline = 20.milliseconds) })
        release.complete(Unit)
        assertNotNull(long.await())
        assertEquals(1, server.sent("/oauth/token").size)
    }

    @Test
    fun `an exchange whose answer is lost three times gets the same child`() = test {
        val device = Device(server).login()
        expire(device.storage)
        repeat(3) { server.faults += server.loseAnswer }
        device.client.me()
        val sent = server.sent("/oauth/token")
        assertEquals(listOf(4, 1, 1), listOf(sent.size, sent.map { it.headers["idempotency-key"] }.toSet().size, server.lineage().generation))
    }

    @Test
    fun `rule 1 - the attempt of an exchange is in the storage before the exchange is sent`() = test {
        val device = Device(server).login()
        expire(device.storage)
        var stored: String? = null
        server.faults += {
            stored = device.storage.read().session?.attempt
            server.serve(it)
        }
        device.client.me()
        assertEquals("\"$stored\"", server.sent("/oauth/token").single().headers["idempotency-key"])
        assertNotEquals(stored, device.storage.read().session?.attempt)
    }

    @Test
    fun `rule 3 - a late child does not replace the record of another process`() = test {
        val device = Device(server).login()
        val sibling = Device(server, device.storage)
        expire(device.storage)
        server.faults += { request ->
            val answer = server.serve(request)
            sibling.client.me() // It gets the same child, stores it, and exchanges that too.
            expire(device.storage)
            sibling.client.me()
            answer
        }
        device.client.me()
        assertTrue(device.storage.read().session!!.accessToken.endsWith(".2"))
    }

    @Test
    fun `rule 2 - storage moved while this process paused - the old token is not sent again`() = test {
        val storage = Device(server).login().storage
        val sibling = Device(server, storage)
        val device = Device(server, storage, sleep = { sibling.client.me() })
        expire(storage)
        server.faults += server.loseRequest
        device.client.me()
        assertEquals(1, server.sent("/oauth/token").size, "the one of the sibling")
    }

    private suspend fun cloneThatExchangedTwice(device: Device) = Device(server, copyOf(device.storage)).also { clone ->
        repeat(2) {
            expire(clone.storage)
            clone.client.me()
        }
        expire(device.storage)
    }

    @Test
    fun `rule 8 - a clone exchanges twice - the owner revokes, and the next login has a new key`() = test {
        val device = Device(server).login()
        val clone = cloneThatExchangedTwice(device)
        val before = device.storage.read().key!!
        val ended = failure { device.client.me() } as LoggedOut
        assertEquals(listOf("logged_out", "reuse", true), listOf(ended.kind, ended.reason, ended.confirmed))
        assertEquals("reuse", server.lineage().ended)
        assertEquals(emptyList<Revocation>(), device.storage.read().revocations)
        assertEquals("reuse", (failure { clone.client.me() } as LoggedOut).reason)
        device.login()
        assertNotEquals(before.data, device.storage.read().key!!.data)
    }

    @Test
    fun `rule 8 without a network - logged out, the revocation is kept, and a restart sends it`() = test {
        val device = Device(server).login()
        cloneThatExchangedTwice(device)
        repeat(2) { server.faults += server.usual }
        server.fail(server.loseRequest)
        val ended = failure { device.client.me() } as LoggedOut
        assertEquals(listOf("reuse", false), listOf(ended.reason, ended.confirmed))
        assertEquals(1, device.storage.read().revocations.size)
        server.online()
        Device(server, device.storage).login()
        assertEquals(emptyList<Revocation>(), device.storage.read().revocations)
        assertEquals(listOf("reuse", null), server.lineages.values.map { it.ended })
    }

    @Test
    fun `a login elsewhere with this record's key ends it - the reason survives a restart`() = test {
        val device = Device(server).login()
        Device(server, copyOf(device.storage)).login()
        assertEquals("replaced", (failure { device.client.me() } as LoggedOut).reason)
        assertNull(device.storage.read().key, "another holder has this key")
        assertEquals("replaced", (Device(server, device.storage).client.state() as State.SignedOut).reason)
    }

    @Test
    fun `the key is lost - logged out, and the next login makes one`() = test {
        val device = Device(server).login()
        val other = SoftwareKeys().create()
        device.storage.update { it.copy(key = it.key!!.copy(data = other.data)) }
        val ended = failure { device.client.me() } as LoggedOut
        assertEquals(listOf("logged_out", "key_lost"), listOf(ended.kind, ended.reason))
        assertEquals(State.SignedOut("key_lost", server.time), device.client.state())
        device.login()
        val whole = SoftwareKeys().create().run { StoredKey(store, data, signer.jwk) }
        device.storage.update { it.copy(key = whole) } // A key that exists, and is not that of the session.
        assertEquals("key_lost", (failure { device.client.me() } as LoggedOut).reason)
        device.login()
        assertNotNull(device.client.me())
    }

    @Test
    fun `a key store in trouble ends nothing`() = test {
        val storage = Device(server).login().storage
        val busy = object : DeviceKeys {
            override fun create() = throw IllegalStateException("busy")
            override fun open(key: StoredKey) = throw IllegalStateException("locked")
            override fun remove(key: StoredKey) = Unit
        }
        val device = Device(server, storage, busy)
        assertEquals("storage_unavailable", kindOf { device.client.me() })
        assertEquals(listOf(0.2, 1.0), device.slept)
        assertNotNull(storage.read().session)
    }

    /** The key store of a phone: it opens the key, and then signs or fails. */
    private class Failing(var trouble: Exception?) : DeviceKeys {
        private val real = SoftwareKeys()
        var signed = 0
        override fun create() = real.create().run { CreatedKey(store, data, failing(signer)) }
        override fun open(key: StoredKey) = failing(real.open(key))
        override fun remove(key: StoredKey) = Unit
        private fun failing(signer: Signer) = object : Signer {
            override val jwk = signer.jwk
            override fun sign(message: ByteArray): ByteArray = signer.sign(message).also { signed++; trouble?.let { throw it } }
        }
    }

    @Test
    fun `trouble of the key at a signature - tried twice again, then nothing ends`() = test {
        val storage = Device(server).login().storage
        val device = Device(server, storage, Failing(IllegalStateException("too many operations")))
        assertEquals("storage_unavailable", kindOf { device.client.me() })
        assertEquals(listOf(0.2, 1.0), device.slept)
        assertNotNull(storage.read().session)
        val passing = Failing(IllegalStateException("busy"))
        assertNotNull(Device(server, storage, passing, sleep = { passing.trouble = null }).client.me())
    }

    @Test
    fun `the key is lost at a signature - logged out, its revocation is dropped, and the next login makes one`() = test {
        val keys = Failing(null)
        val device = Device(server, keys = keys).login()
        server.fail(server.loseRequest)
        device.client.logout()
        server.online()
        device.login()
        val before = device.storage.read().key!!
        keys.trouble = KeyLost()
        server.time += 60 // A revocation is not sent at each call.
        val ended = failure { device.client.me() } as LoggedOut
        assertEquals(listOf("key_lost", false), listOf(ended.reason, ended.confirmed))
        assertEquals(emptyList<Revocation>(), device.storage.read().revocations)
        assertEquals("storage_unavailable", kindOf { device.login() })
        assertNull(device.storage.read().key)
        keys.trouble = null
        device.login()
        assertNotEquals(before.data, device.storage.read().key!!.data)
    }

    @Test
    fun `a storage that is locked or full - nothing is sent twice, nothing ends`() = test {
        val storage = Device(server).login().storage
        expire(storage)
        var trouble = "read"
        val broken = object : Storage {
            override fun read() = if (trouble == "read") throw IllegalStateException("locked") else storage.read()
            override fun update(change: (DeviceRecord) -> DeviceRecord) =
                if (trouble == "update") throw IllegalStateException("no space") else storage.update(change)
        }
        val device = Device(server, broken)
        val count = server.log.size
        assertEquals("storage_unavailable", kindOf { device.client.me() })
        assertEquals(count, server.log.size)
        trouble = "update"
        assertEquals("storage_unavailable", kindOf { device.client.me() }) // The child cannot be stored, so it is not used.
        trouble = ""
        device.client.me()
        assertEquals(1, server.lineage().generation, "the same child")
    }

    @Test
    fun `a wrong clock costs one more request`() = test {
        val device = Device(server, wrong = 86_400.0).login()
        assertEquals(2, server.sent("/login").size)
        assertEquals(server.time, Math.floor(device.client.now()))
        assertEquals(-86_400.0, device.client.syncClock())
    }

    @Test
    fun `a portal answers every verb - nothing succeeds, nothing ends`() = test {
        val device = Device(server).login()
        val portal = Device(server, device.storage, transport = { request, _ -> server.portal(request) }).client
        val safe = listOf<suspend () -> Any?>(
            { portal.me() }, { portal.devices() }, { portal.endDevice("x", confirm) }, { portal.logoutEverywhere(confirm) }, { portal.syncClock() },
        )
        for (work in safe) assertEquals("offline", kindOf(work))
        val once = listOf<suspend () -> Any?>({ portal.changePassword("x", confirm) }, { portal.deleteAccount(confirm) }, { portal.call("POST", "/x") })
        for (work in once) assertEquals("answer_lost", kindOf(work))
        expire(device.storage)
        assertEquals("offline", kindOf { portal.me() })
        assertNotNull(device.storage.read().session)
        device.client.me()
    }

    @Test
    fun `a call that blocks a thread is cancelled by the interruption of that thread`() {
        val began = CountDownLatch(1)
        var ended: Exception? = null
        val thread = Thread {
            ended = try {
                test {
                    Device(server, transport = { _, _ ->
                        began.countDown()
                        CompletableDeferred<RawAnswer>().await()
                    }).login()
                }
                null
            } catch (error: InterruptedException) {
                error
            }
        }
        thread.start()
        began.await()
        thread.interrupt()
        thread.join()
        assertTrue(ended is InterruptedException)
    }

    @Test
    fun `after close a call fails, and the record stays`() = test {
        val device = Device(server).login()
        device.client.close()
        assertTrue(failure { device.client.me() } is IllegalStateException)
        assertFalse(device.storage.read().session == null)
    }
}
