package baton.client.android

import android.content.Context
import baton.client.BASE as baseUrl
import baton.client.Baton
import baton.client.EMAIL as email
import baton.client.FakeServer
import baton.client.LoginStep
import baton.client.Options
import baton.client.PASSWORD as password
import baton.client.Proof
import baton.client.test
import com.example.orders.words
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.w3c.dom.Element
import org.w3c.dom.NodeList

/** What the README says is true: the quick start runs, and the rules for backups are XML that excludes the record everywhere. */
class QuickStartTest {
    @TempDir
    lateinit var files: File
    private val readme = File("README.md").readText()

    @Test
    fun `the quick start`() = test {
        FakeKeyStore.reset()
        val server = FakeServer()
        server.accounts.getValue(email).factor = "123456"
        val printed = mutableListOf<Any?>()
        val transfer = mapOf("to" to "bob", "amount" to 7)
        val context: Context = FakeContext(files)
        fun ask(what: String) = if (what == "Code") "123456" else password
        fun println(value: Any?) = printed.add(value)
        fun androidBaton(context: Context, baseUrl: String, clientId: String) =
            androidBaton(context, baseUrl, clientId, server.transport, Options(clock = { server.time }))
        // [quick-start]
        val baton = androidBaton(context, baseUrl, "mobile")
        var login = baton.login(email, password, "Ada's phone")
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
        val block = File("src/test/kotlin/QuickStartTest.kt").readText().split("        // [quick-start]\n")[1].trimIndent().trim()
        assertTrue("```kotlin\n$block\n```" in readme, "the README has another quick start")
        assertTrue(block.lines().size <= 12)
    }

    private fun NodeList.elements() = List(length) { item(it) }.filterIsInstance<Element>()

    @Test
    fun `both forms of the backup rules exclude the record, for clouds and for other phones`() {
        val blocks = Regex("```xml\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(readme).map { it.groupValues[1] }
        val roots = blocks.map { DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(it.byteInputStream()).documentElement }.toList()
        assertEquals(listOf("application", "full-backup-content", "data-extraction-rules"), roots.map { it.nodeName })
        val sections = listOf(roots[1]) + roots[2].childNodes.elements()
        assertEquals(listOf("full-backup-content", "cloud-backup", "device-transfer"), sections.map { it.nodeName })
        for (section in sections) {
            val rules = section.childNodes.elements().map { listOf(it.nodeName, it.getAttribute("domain"), it.getAttribute("path")) }
            assertEquals(listOf(listOf("exclude", "file", "baton/")), rules)
        }
        assertEquals("@xml/backup_rules", roots[0].getAttribute("android:fullBackupContent"))
        assertEquals("@xml/extraction_rules", roots[0].getAttribute("android:dataExtractionRules"))
    }

    @Test
    fun `the sample has words for each reason of the wire`() {
        val wire = File("../../../docs/baton/wire.md").readText().replace(Regex("\\s+"), " ") // the lines of the page may break anywhere
        val listed = wire.substringAfter("These are the values of `ended_reason`:").substringBefore("`claimed`: the address")
        val reasons = Regex("`([a-z_]+)`").findAll(listed).map { it.groupValues[1] }.toSet() + "key_lost"
        assertTrue(reasons.size >= 12 && reasons.containsAll(listOf("reuse", "undone")))
        val spare = words("of_the_future")
        for (reason in reasons - listOf("idle", "expired")) assertNotEquals(spare, words(reason), reason)
    }
}
