package baton.client.jvm

import baton.client.Limits
import baton.client.NoAnswer
import baton.client.Request
import baton.client.failure
import baton.client.test
import java.io.OutputStream
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.util.Collections
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** The transport against a socket that answers with the bytes of the test. */
@Timeout(60)
class TransportTest {
    private val server = ServerSocket(0, 50, InetAddress.getLoopbackAddress())
    private val url = "http://127.0.0.1:${server.localPort}"
    private val heads: MutableList<List<String>> = Collections.synchronizedList(mutableListOf())
    private val transport = JdkTransport()

    private fun serve(answer: (path: String, Socket, OutputStream) -> Unit) = thread(isDaemon = true) {
        while (!server.isClosed) {
            val socket = runCatching { server.accept() }.getOrNull() ?: return@thread
            thread(isDaemon = true) {
                val head = generateSequence(socket.getInputStream().bufferedReader()::readLine).takeWhile { it.isNotEmpty() }.toList()
                heads += head
                runCatching { socket.use { answer(head[0].split(" ")[1], it, it.getOutputStream()) } } // The client may have left.
            }
        }
    }

    private fun OutputStream.head(status: String, vararg lines: String) =
        write("HTTP/1.1 $status\r\n${lines.joinToString("") { "$it\r\n" }}Connection: close\r\n\r\n".toByteArray())

    @AfterEach
    fun close() = server.close()

    private suspend fun send(path: String, timeout: Double = 5.0, method: String = "GET", body: ByteArray? = null) =
        transport.send(Request(method, url + path, mapOf("accept" to "application/json"), body), Limits(timeout, 1 shl 20))

    private suspend fun noAnswer(path: String, timeout: Double = 5.0) = failure { send(path, timeout) } as NoAnswer

    @Test
    fun `headers, bytes, no redirect, no cookies, every method`() = test {
        serve { path, _, out ->
            if (path == "/away") return@serve out.head("307 Away", "Location: $url/arrived", "Content-Length: 0")
            out.head("200 OK", "Set-Cookie: a=b", "Baton-Request-Id: 0123abcd-ef", "Twice: 1", "Twice: 2", "Content-Length: 2")
            out.write("é".toByteArray())
        }
        val answer = send("/a%20b?q=%7E")
        assertEquals(listOf(200, "0123abcd-ef", "1, 2"), listOf(answer.status, answer.headers["baton-request-id"], answer.headers["twice"]))
        assertArrayEquals("é".toByteArray(), answer.bytes)
        assertEquals(307, send("/away").status)
        assertEquals(200, send("/patch", method = "PATCH", body = "x".toByteArray()).status)
        assertEquals(listOf("GET /a%20b?q=%7E HTTP/1.1", "GET /away HTTP/1.1", "PATCH /patch HTTP/1.1"), heads.map { it[0] })
        assertTrue(heads.none { head -> head.any { it.lowercase().startsWith("cookie") } })
        assertTrue("accept: application/json" in heads[0].map { it.lowercase() })
    }

    @Test
    fun `refusals and empty answers come through as they are`() = test {
        serve { path, _, out ->
            when (path) {
                "/bearer" -> out.head("401 No", "WWW-Authenticate: Bearer error=\"invalid_token\"", "Content-Length: 2")
                "/plain" -> out.head("401 No", "Content-Length: 2")
                "/empty" -> out.head("204 None")
            }
            if (path != "/empty") out.write("{}".toByteArray())
        }
        for ((path, status) in mapOf("/bearer" to 401, "/plain" to 401, "/empty" to 204)) {
            val answer = send(path, method = "DELETE")
            assertEquals(listOf(status, if (status == 204) "" else "{}"), listOf(answer.status, answer.bytes.decodeToString()))
        }
        assertEquals(3, heads.size, "no request is repeated")
    }

    @Test
    fun `what is certainly not sent`() = test {
        server.close()
        assertEquals(false, noAnswer("/").sent)
        val nowhere = Request("GET", "http://no-such-host.invalid/", emptyMap(), null)
        assertEquals(false, (failure { transport.send(nowhere, Limits(5.0, 1)) } as NoAnswer).sent)
    }

    @Test
    fun `a body that drips, one that is too long, one that is cut, and none`() = test {
        serve { path, _, out ->
            when (path) {
                "/huge", "/most" -> {
                    val size = (1 shl 20) + if (path == "/huge") 1 else 0
                    out.head("200 OK", "Content-Length: $size")
                    out.write(ByteArray(size))
                }
                "/cut" -> {
                    out.head("200 OK", "Content-Length: 10")
                    out.write("half".toByteArray())
                }
                "/drip" -> {
                    out.head("200 OK", "Content-Length: 10000")
                    while (true) {
                        out.write('x'.code)
                        out.flush()
                        Thread.sleep(50)
                    }
                }
            }
        }
        assertTrue("too long" in noAnswer("/huge").message!!)
        assertEquals(1 shl 20, send("/most").bytes.size)
        for (path in listOf("/cut", "/closed")) assertEquals(true, noAnswer(path).sent)
        assertTrue("in time" in noAnswer("/drip", 0.3).message!!)
        assertEquals(true, noAnswer("/drip", 0.3).sent)
    }

    @Test
    fun `a caller that cancels closes its connection`() = test {
        val began = CountDownLatch(1)
        val ended = CountDownLatch(1)
        serve { _, socket, _ ->
            began.countDown()
            runCatching { socket.getInputStream().readAllBytes() }
            ended.countDown()
        }
        val caller = launch(Dispatchers.Default) { send("/", 60.0) }
        began.await()
        caller.cancelAndJoin()
        assertTrue(ended.await(10, TimeUnit.SECONDS))
    }

    @Test
    fun `a POST whose connection is dropped is sent once`() = test {
        serve { _, socket, _ -> socket.close() }
        assertEquals(true, (failure { send("/", method = "POST", body = "x".toByteArray()) } as NoAnswer).sent)
        Thread.sleep(100)
        assertEquals(1, heads.size)
    }
}
