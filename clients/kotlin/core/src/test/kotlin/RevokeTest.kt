package baton.client

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** Revocations and overtaken logins: guards that need a particular order of events. */
@Timeout(60)
class RevokeTest {
    private val server = FakeServer()

    private fun refusing(error: String, code: String, action: String): suspend (Request) -> RawAnswer = {
        val headers = mapOf("baton-request-id" to "0123abcd-ef", "content-type" to "application/json", "cache-control" to "no-store")
        RawAnswer(400, headers, Json.write(mapOf("error" to error, "code" to code, "action" to action)).toByteArray())
    }

    private fun waiting(device: Device) = device.storage.read().revocations.size

    @Test
    fun `logout without a network - signed out here, revoked later, and a login since is untouched`() = test {
        val device = Device(server).login()
        server.fail(server.refuse)
        assertFalse(device.client.logout().confirmed)
        assertTrue(device.client.state() is State.SignedOut)
        assertEquals("not_logged_in", kindOf { device.client.me() })
        server.online()
        server.fail(server.portal) // A portal's page confirms nothing.
        Device(server, device.storage).client.logout()
        assertEquals(1, waiting(device))
        server.online()
        val later = Device(server, device.storage).login()
        later.client.me()
        assertEquals(0, waiting(device))
        assertEquals(listOf("logout", null), server.lineages.values.map { it.ended })
    }

    @Test
    fun `logout with a network is confirmed, and a second one too`() = test {
        val client = Device(server).login().client
        assertTrue(client.logout().confirmed)
        assertTrue(client.logout().confirmed)
        assertEquals(State.SignedOut("logout", server.time), client.state())
    }

    @Test
    fun `a revocation that is refused is kept, and not sent again until the app starts again`() = test {
        val device = Device(server).login()
        server.faults += refusing("unauthorized_client", "unauthorized_client", "fix_request")
        assertFalse(device.client.logout().confirmed)
        device.login()
        device.client.me()
        assertEquals(listOf(1, 0), listOf(waiting(device), server.sent("/oauth/revoke").size))
        Device(server, device.storage).client.me()
        assertEquals(listOf(0, 1), listOf(waiting(device), server.sent("/oauth/revoke").size))
    }

    @Test
    fun `a login that has ended at the server already completes its revocation`() = test {
        val device = Device(server).login()
        server.faults += refusing("invalid_grant", "login_required", "log_in")
        assertTrue(device.client.logout().confirmed)
    }

    @Test
    fun `a revocation that was not answered does not delay each call`() = test {
        val device = Device(server).login()
        server.fail(server.loseRequest)
        device.client.logout()
        server.online()
        device.login()
        device.client.me()
        assertEquals(0, server.sent("/oauth/revoke").size)
        server.time += 31
        device.client.me()
        assertEquals(1, server.sent("/oauth/revoke").size)
    }

    @Test
    fun `a revocation whose key is gone is dropped, and one of 31 days too`() = test {
        val device = Device(server).login()
        val one = Revocation("t", "a key that is gone", null, server.time)
        val old = device.storage.read().session!!.keyId
        device.storage.update { it.copy(revocations = listOf(one, one.copy(token = "u", keyId = old, since = server.time - 31 * 86400))) }
        Device(server, device.storage).client.me()
        assertEquals(listOf(0, 0), listOf(waiting(device), server.sent("/oauth/revoke").size))
    }

    @Test
    fun `logout without the key of the login is not confirmed - no request can revoke it`() = test {
        val device = Device(server).login()
        device.storage.update { it.copy(key = null) }
        assertFalse(device.client.logout().confirmed)
        assertTrue(device.client.state() is State.SignedOut)
        assertEquals(0, waiting(device))
        assertEquals(listOf<String?>(null), server.lineages.values.map { it.ended })
    }

    @Test
    fun `at most eight revocations wait`() = test {
        val storage = MemoryStorage()
        repeat(10) {
            val before = storage.read().revocations
            storage.update { it.copy(revocations = emptyList()) } // Without them the login sends none.
            val device = Device(server, storage).login()
            storage.update { it.copy(revocations = before) }
            server.fail(server.loseRequest)
            device.client.logout()
            server.online()
        }
        assertEquals(8, storage.read().revocations.size)
    }

    @Test
    fun `a login that another one overtook is not stored`() = test {
        server.accounts["bob@example.com"] = FakeServer.Account(PASSWORD)
        val device = Device(server)
        val other = Device(server, device.storage)
        server.faults += { request ->
            val answer = server.serve(request)
            other.client.login("bob@example.com", PASSWORD, NAME)
            answer
        }
        assertEquals("not_logged_in", kindOf { device.login() })
        assertEquals("bob@example.com", other.client.me()["email"])
    }

    @Test
    fun `a login of a clone does not revive the revocation of the owner`() = test {
        val device = Device(server).login()
        val clone = Device(server, copyOf(device.storage))
        device.client.logout()
        assertEquals("logout", (failure { clone.client.me() } as LoggedOut).reason)
    }

    @Test
    fun `a logout beside a long exchange - nothing is revived`() = test {
        val device = Device(server).login()
        expire(device.storage)
        server.faults += { request ->
            val answer = server.serve(request)
            device.client.logout()
            answer
        }
        assertEquals("not_logged_in", kindOf { device.client.me() })
        assertTrue(device.client.state() is State.SignedOut)
    }
}
