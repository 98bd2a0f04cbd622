package baton.client

import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.async
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** Logins, factors, step-ups, calls with keys, and listeners, on the fake server. */
@Timeout(60)
class LoginTest {
    private val server = FakeServer()
    private val key = "0123456789abcdef"

    @Test
    fun `a step-up asks the person once, and a spent grant is replaced`() = test {
        val device = Device(server).login()
        var asked = 0
        server.faults += listOf(server.usual, server.usual, server.loseAnswer) // The demand, the grant, and the lost answer.
        device.client.call("POST", "/things", json = mapOf("a" to 1), repeat = true) { demand ->
            asked++
            assertEquals(listOf("password"), demand.refused.problem["factors"])
            Proof(password = PASSWORD)
        }
        assertEquals(listOf(1, 2, 2), listOf(asked, server.sent("/step-up").size, server.effects))
    }

    @Test
    fun `a grant that is too old asks the person again`() = test {
        val client = Device(server).login().client
        var asked = 0
        server.oldGrants = 1
        client.call("POST", "/things", json = mapOf("a" to 1)) { asked++; Proof(password = PASSWORD) }
        assertEquals(listOf(2, 1), listOf(asked, server.effects))
    }

    @Test
    fun `without confirm the demand is returned, and a grant can be asked for`() = test {
        val client = Device(server).login().client
        val refused = failure { client.call("DELETE", "/me") } as Refused
        assertEquals(listOf("refused", "step_up_required", "step_up"), listOf(refused.kind, refused.code, refused.action))
        val grant = client.stepUp(Proof(password = PASSWORD), "DELETE", "/me")
        assertEquals(204, client.call("DELETE", "/me", grant = grant).status)
    }

    @Test
    fun `the own verbs`() = test {
        val device = Device(server).login()
        val client = device.client
        assertEquals(1, client.devices().size)
        client.changePassword("another lantern drifting sideways", confirm)
        client.endDevice("a b/c", confirm)
        assertEquals("/me/devices/a%20b%2Fc", server.log.last().path)
        client.logoutEverywhere(confirm)
        assertNull(device.storage.read().session)
        device.login()
        client.deleteAccount(confirm)
        assertEquals(State.SignedOut(null, null), client.state())
        device.login()
        client.forget()
        assertEquals(State.SignedOut(null, null), client.state())
    }

    @Test
    fun `a logout everywhere whose answer was lost returns as usual`() = test {
        val device = Device(server).login()
        device.client.logoutEverywhere {
            server.faults += listOf(server.usual, server.loseAnswer) // the step-up is answered
            Proof(password = PASSWORD)
        }
        assertEquals(3, server.sent("/logout").size)
        assertNull(device.storage.read().session)
    }

    @Test
    fun `a logout everywhere of a login that ended before reports this end`() = test {
        val client = Device(server).login().client
        server.lineage().ended = "password_changed"
        assertEquals("password_changed", (failure { client.logoutEverywhere(confirm) } as LoggedOut).reason)
    }

    @Test
    fun `a logout everywhere reports another end of the login during the call`() = test {
        val client = Device(server).login().client
        val over = failure {
            client.logoutEverywhere {
                server.faults += server.usual // the step-up is answered
                server.faults += { request -> server.lineage().ended = "password_changed"; server.usual(request) }
                Proof(password = PASSWORD)
            }
        }
        assertEquals("password_changed", (over as LoggedOut).reason)
    }

    @Test
    fun `a logout everywhere after that of another device reports it`() = test {
        val client = Device(server).login().client
        server.lineage().ended = "ended_everywhere"
        assertEquals("ended_everywhere", (failure { client.logoutEverywhere(confirm) } as LoggedOut).reason)
    }

    @Test
    fun `a call with a key has one effect, whatever is lost - without a key its answer is lost`() = test {
        val client = Device(server).login().client
        server.faults += listOf(server.loseAnswer, server.loseRequest, server.loseAnswer)
        val answer = client.call("POST", "/transfers", json = mapOf("amount" to 7), idempotencyKey = key)
        assertEquals(listOf(201, mapOf("paid" to true), 1), listOf(answer.status, answer.json(), server.effects))
        server.faults += server.loseAnswer
        assertEquals("answer_lost", kindOf { client.call("POST", "/transfers", json = mapOf("amount" to 7)) })
        assertTrue(Regex("[\\w-]{22}").matches(Baton.newIdempotencyKey()))
    }

    @Test
    fun `a login goes on with its attempt after a restart`() = test {
        val device = Device(server)
        var stored: String? = null
        server.faults += {
            stored = device.storage.read().pending?.attempt // Rule 1: before it is sent.
            server.loseAnswer(it)
        }
        server.fail(server.loseAnswer)
        assertEquals("offline", kindOf { device.client.register("bob@example.com", PASSWORD, NAME) })
        server.online()
        runCatching { Device(server, device.storage).client.login(" Bob@Example.com", PASSWORD, NAME) }
        val attempts = server.log.filter { it.path == "/register" || it.path == "/login" }.map { it.headers["idempotency-key"] }
        assertEquals(setOf("\"$stored\""), attempts.toSet())
        assertEquals("/login", server.log.last().path)
    }

    @Test
    fun `a second factor - a wrong code, a restart, the right code`() = test {
        val device = Device(server)
        server.accounts.getValue(EMAIL).factor = "123456"
        val step = device.client.login(EMAIL, PASSWORD, NAME) as LoginStep
        assertEquals(listOf(listOf("totp"), server.time + 600), listOf(step.factors, step.expiresAt))
        assertEquals("invalid_factor", (failure { step.prove(Proof(totp = "000000")) } as Refused).code)
        val restarted = Device(server, device.storage).client.pendingStep()!!
        assertEquals(listOf(listOf("totp"), server.time + 600), listOf(restarted.factors, restarted.expiresAt))
        assertEquals("en.1", restarted.enrolment("totp")["enrolment"])
        val done = restarted.prove(Proof(totp = "123456"), enrolment = "en.1") as LoginDone
        assertEquals(listOf("one", "two"), done.recoveryCodes)
        assertNull(device.client.pendingStep())
        assertTrue("\"remember_device\":true" in server.sent("/login/factor").last().body)
    }

    @Test
    fun `a step that has expired is not returned`() = test {
        val device = Device(server)
        server.accounts.getValue(EMAIL).factor = "123456"
        device.login()
        server.time += 600
        assertNull(device.client.pendingStep())
    }

    @Test
    fun `a void session of a factor - the login begins anew`() = test {
        val device = Device(server)
        server.accounts.getValue(EMAIL).factor = "123456"
        val step = device.client.login(EMAIL, PASSWORD, NAME) as LoginStep
        server.accounts.getValue(EMAIL).factor = null
        assertEquals("invalid_session", (failure { step.prove(Proof(totp = "123456")) } as Refused).code)
        assertNull(device.storage.read().pending)
    }

    @Test
    fun `a passkey alone - options for the key, then a login with its attempt`() = test {
        val client = Device(server).client
        val login = client.loginWithPasskey(NAME) { options -> mapOf("challenge" to options["challenge"]) }
        assertTrue(login is LoginDone)
        assertNotNull(client.me())
        val sent = server.sent("/login/passkey").single()
        assertEquals(setOf("client_id", "credential", "device"), objectOf(Json.parse(sent.body))!!.keys)
        assertTrue(Regex("\"[\\w-]{22}\"").matches(sent.headers.getValue("idempotency-key")))
        assertEquals("challenge_invalid", (failure { client.loginWithPasskey(NAME) { mapOf("challenge" to "old") } } as Refused).code)
        assertTrue(client.state() is State.SignedIn)
    }

    @Test
    fun `a restore key - kept after a login, used on a new phone, and forgotten`() = test {
        val credential: AskPlatform = { options -> mapOf("challenge" to options["challenge"]) }
        val phone = Device(server)
        assertEquals("unknown_passkey", (failure { phone.client.restore(NAME, get = credential) } as Refused).code)
        Device(server).login().client.keepRestoreKey(create = credential)
        server.faults += listOf(server.usual, server.loseAnswer)
        val restored = phone.client.restore(NAME, get = credential) as LoginDone
        assertEquals(server.lineages.keys.last(), restored.deviceId)
        assertEquals(1, server.sent("/login/restore").map { it.headers["idempotency-key"] }.toSet().size, "the refused login goes on")
        phone.client.forgetRestoreKey()
        assertEquals(0, server.restoreKeys)
    }

    @Test
    fun `codes by mail - one key for the code and for what follows`() = test {
        val device = Device(server)
        val client = device.client
        val session = client.forgotPassword(EMAIL)
        assertEquals("ms.1", session)
        val before = device.storage.read().key
        assertEquals("invalid_code", (failure { client.resetPassword(session, "0000 0000", PASSWORD) } as Refused).code)
        client.resetPassword(session, "1234 5678", PASSWORD)
        client.register("bob@example.com", PASSWORD, NAME, MailCode(client.startRegistration("bob@example.com"), "1"))
        assertTrue("\"mail_session\":\"ms.1\",\"code\":\"1\"" in server.sent("/register").first().body)
        assertEquals(before, device.storage.read().key)
    }

    @Test
    fun `HMAC - the first login is not signed, the second one is signed with the last secret`() = test {
        val device = Device(server, binding = Binding.HMAC).login()
        device.client.me()
        val secret = device.storage.read().session!!.secret
        device.client.logout()
        assertEquals(secret, device.storage.read().last!!.secret)
        device.login()
        val (first, second) = server.sent("/login")
        assertEquals(listOf(false, true), listOf("signature" in first.headers, "signature" in second.headers))
    }

    @Test
    fun `without a binding nothing is signed`() = test {
        Device(server, binding = Binding.NONE).login().client.me()
        assertTrue(server.log.none { "signature" in it.headers })
    }

    @Test
    fun `listeners are told after the record has changed, once for each state`() = test {
        val device = Device(server)
        val told = mutableListOf<State>()
        val listening = device.client.onState { told += it }
        device.login()
        expire(device.storage)
        device.client.me()
        device.client.logout()
        listening.close()
        device.login()
        assertEquals(listOf(State.SignedIn(server.lineage().id), State.SignedOut("logout", server.time)), told)
    }

    @Test
    fun `the flow of states begins with the state of now`() = test {
        val device = Device(server)
        val states = async { device.client.states().take(2).toList() }
        yield()
        device.login()
        assertEquals(State.SignedIn(server.lineage().id), states.await().last())
    }

    @Test
    fun `no secret is shown by the objects of the client`() = test {
        val device = Device(server).login()
        server.accounts.getValue(EMAIL).factor = "123456"
        val step = Device(server).client.login(EMAIL, PASSWORD, NAME)
        val record = device.storage.read()
        val error = failure { device.client.call("DELETE", "/me") }
        val lost = failure { Device(server, device.storage, transport = { request, _ -> server.loseRequest(request) }).client.call("POST", "/x", json = mapOf("a" to PASSWORD)) }
        val proof = Proof(password = PASSWORD)
        val shown = listOf(device.client, step, error, lost, record, proof, device.storage, Request("GET", "u", mapOf("a" to record.session!!.accessToken), null))
        for (one in shown)
            for (secret in listOf(record.session.accessToken, record.session.attempt, record.key!!.data, PASSWORD, "as.ada"))
                assertFalse(secret in one.toString(), "$one has $secret")
        assertFalse("auth_session" in (step as LoginStep).problem)
    }

    @Test
    fun `errors of the program are noticed before anything is sent`() = test {
        val client = Device(server).login().client
        val count = server.log.size
        val wrong = listOf<suspend () -> Any?>(
            { client.call("GET", "me") }, { client.call("GET", "/a/../me") }, { client.call("get", "/me") },
            { client.call("POST", "/x", json = 1, body = ByteArray(1)) }, { client.call("POST", "/x", json = Any()) },
            { client.call("POST", "/x", idempotencyKey = "short") },
        )
        for (work in wrong) assertTrue(failure(work) is IllegalArgumentException)
        assertEquals(count, server.log.size)
        val emulator = { plain: Boolean ->
            Baton("http://10.0.2.2:8000/api", "mobile", MemoryStorage(), SoftwareKeys(), server.transport, Options(plainHttp = plain))
        }
        assertThrows(IllegalArgumentException::class.java) { emulator(false) }
        assertNotNull(emulator(true))
    }
}
