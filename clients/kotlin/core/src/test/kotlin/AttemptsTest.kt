package baton.client

import java.util.Locale
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

/** The table of rules: each vector on the table alone, then on a real client. Each row, deleted, makes a vector fail. */
class AttemptsTest {
    private val all = vectors("attempts")

    private inline fun <reified T : Enum<T>> named(text: String): T = enumValueOf(text.uppercase(Locale.ROOT))

    private fun situation(of: Vector): Situation = of.vector("situation").run {
        val facts = Facts(
            exchanged = get("exchanged") == true, renewable = get("renewable") == true, moved = get("moved") == true,
            continued = get("continued") == true, grants = number("grants").toInt(), confirm = get("confirm") == true,
            superseded = number("superseded").toInt(), session = get("session") == true, anew = get("anew") == true,
            evidence = get("evidence") == true, attested = get("attested") == true,
        )
        Situation(
            named(text("verb")), get("repeatable") == true, get("keyed") == true, named(text("came")), number("status").toInt(),
            text("error"), text("code"), text("action"), number("defects").toInt(), get("synced") == true, number("pause"), number("left"), facts,
        )
    }

    private fun failures(rows: List<Row>) = all.filter { next(situation(it), rows) != named<Step>(it.text("step")) }.map { it.text("name") }

    @Test
    fun `the table decides every situation`() {
        assertTrue(all.size > 400)
        assertEquals(emptyList<String>(), failures(ROWS))
    }

    @TestFactory
    fun `without a row a vector fails`() = ROWS.map { row ->
        DynamicTest.dynamicTest("without ${row.name}") { assertNotEquals(emptyList<String>(), failures(ROWS - row)) }
    }

    @Test
    fun `without the deadline, row 14, a vector fails`() {
        val endless = all.filter { next(situation(it).copy(left = Double.POSITIVE_INFINITY)) != named<Step>(it.text("step")) }
        assertTrue(endless.size > 100)
    }

    @TestFactory
    fun `a real client takes the step`() = all.filter { it["run"] != null }.map { vector ->
        DynamicTest.dynamicTest(vector.text("name")) {
            val run = vector.vector("run")
            val played = runBlocking { play(run) }
            assertEquals(0, played.left, "every answer was asked for")
            val step = named<Step>(vector.text("step"))
            seen(step, played, vector, run)
            if (step != Step.LOGGED_OUT && step != Step.RULE_8 && run["verb"] in listOf("call", "exchange"))
                assertNotNull(played.record.session, "the session is kept")
        }
    }

    /** What a client that takes a step does, seen from outside. */
    private fun seen(step: Step, played: Played, vector: Vector, run: Vector) {
        val events = played.events
        fun sent(at: Int) = events[at] as Sent
        fun ended(kind: String): BatonException {
            assertEquals(emptyList<Any>(), events)
            return played.error!!.also { assertEquals(kind, it.kind) }
        }
        fun again(at: Int) {
            val last = played.last!!
            assertEquals(listOf(last.path, last.attempt, last.token), sent(at).run { listOf(path, attempt, token) })
            assertNotEquals(last.signature, sent(at).signature, "signed again, with another nonce")
        }
        when (step) {
            Step.DONE -> if (run["verb"] == "exchange") {
                assertEquals(listOf("/things", "Bearer t2"), sent(0).run { listOf(path, token) })
            } else {
                assertTrue(played.value.let { it is LoginDone || (it as Answer).status == 200 })
            }
            Step.PAUSE -> {
                assertEquals(vector.vector("situation").number("pause"), (events[0] as Slept).seconds)
                again(1)
            }
            Step.SYNC -> again(0)
            Step.ANSWER_LOST -> ended("answer_lost")
            Step.OFFLINE -> ended("offline")
            Step.REFUSED -> assertEquals(vector.vector("situation").text("code"), (ended("refused") as Refused).code)
            Step.EXCHANGE -> assertEquals("/oauth/token", sent(0).path)
            Step.STEP_UP -> assertEquals("/step-up", sent(0).path)
            Step.RETURN_STEP -> {
                assertTrue(played.value is LoginStep)
                assertEquals("as.new", played.record.pending!!.authSession)
            }
            Step.RETURN_SESSION -> {
                assertEquals(emptyList<Any>(), events)
                assertEquals("other", (played.value as LoginDone).deviceId)
            }
            Step.NEW_ATTEMPT -> {
                assertEquals(played.last!!.path, sent(0).path)
                assertNotEquals(played.last.attempt, sent(0).attempt)
            }
            Step.READ_STORAGE -> {
                assertEquals("/things", sent(0).path)
                assertTrue(sent(0).token!!.startsWith("Bearer newer-"))
            }
            Step.ASK_AGAIN -> {
                assertTrue((events[0] as Slept).seconds >= 1)
                again(1)
            }
            Step.RULE_8 -> {
                assertEquals("/oauth/revoke", sent(0).path)
                played.record.run {
                    assertNull(session)
                    assertNull(key)
                    assertEquals(listOf(1, "reuse"), listOf(revocations.size, ended?.reason))
                }
            }
            Step.LOGGED_OUT -> {
                val error = ended("logged_out") as LoggedOut
                assertNull(played.record.session)
                assertEquals(error.reason, played.record.ended!!.reason)
            }
            Step.ATTEST -> error("no vector of a run has it")
        }
    }
}
