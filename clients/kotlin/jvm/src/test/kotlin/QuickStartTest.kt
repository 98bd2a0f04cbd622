package baton.client.jvm

import baton.client.BASE as baseUrl
import baton.client.Baton
import baton.client.EMAIL as email
import baton.client.FakeServer
import baton.client.LoginStep
import baton.client.Options
import baton.client.PASSWORD as password
import baton.client.Proof
import baton.client.test
import java.io.File
import java.nio.file.Path
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The quick start of the README runs. The README has these lines to the letter. */
class QuickStartTest {
    @TempDir
    lateinit var folder: Path

    @Test
    fun `the quick start`() = test {
        val server = FakeServer()
        server.accounts.getValue(email).factor = "123456"
        val printed = mutableListOf<Any?>()
        val transfer = mapOf("to" to "bob", "amount" to 7)
        fun ask(what: String) = if (what == "Code") "123456" else password
        fun println(value: Any?) = printed.add(value)
        fun jvmBaton(baseUrl: String, clientId: String, folder: Path) =
            jvmBaton(baseUrl, clientId, folder, server.transport, Options(clock = { server.time }))
        // [quick-start]
        val baton = jvmBaton(baseUrl, "mobile", folder)
        var login = baton.login(email, password, "Ada's laptop")
        while (login is LoginStep) login = login.prove(Proof(totp = ask("Code")))
        println(baton.me())

        val key = Baton.newIdempotencyKey() // Store it with the transfer, before the call.
        val answer = baton.call("POST", "/transfers", json = transfer, idempotencyKey = key) {
            Proof(password = ask("Password")) // Called only if the route requires it.
        }
        println(answer.json())
        println(baton.logout())
        // [quick-start]
        assertEquals(listOf(mapOf("paid" to true).toString(), "LogoutResult(confirmed=true)"), printed.drop(1).map { it.toString() })
        assertEquals(3, printed.size)
    }

    @Test
    fun `the README has it to the letter`() {
        val here = File("src/test/kotlin/QuickStartTest.kt").readText()
        val block = here.split("        // [quick-start]\n")[1].trimIndent().trim()
        assertTrue("```kotlin\n$block\n```" in File("../README.md").readText(), "the README has another quick start")
        assertTrue(block.lines().size <= 12)
    }
}
