package baton.client.android

import baton.client.Limits
import baton.client.NoAnswer
import baton.client.RawAnswer
import baton.client.Request
import baton.client.failure
import baton.client.test
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.InputStream
import java.io.OutputStream
import java.net.HttpURLConnection
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.net.URL
import java.util.Collections
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** The transport over the `HttpURLConnection` of the JDK, against a socket that answers with the bytes of the test. */
@Timeout(60)
class TransportTest {
    private val server = ServerSocket(0, 50, InetAddress.getLoopbackAddress())
    private val url = "http://127.0.0.1:${server.localPort}"
    private val heads: MutableList<List<String>> = Collections.synchronizedList(mutableListOf())
    private val transport = UrlTransport()

    private fun serve(answer: (path: String, Socket, OutputStream) -> Unit) = thread(isDaemon = true) {
        while (!server.isClosed) {
            val socket = runCatching { server.accept() }.getOrNull() ?: return@thread
            thread(isDaemon = true) {
                val input = socket.getInputStream()
                val head = generateSequence { line(input) }.takeWhile { it.isNotEmpty() }.toList()
                if (head.isNotEmpty()) heads += head
                runCatching { socket.use { answer(head[0].split(" ")[1], it, it.getOutputStream()) } } // The client may have left.
            }
        }
    }

    private fun line(input: InputStream): String? {
        val bytes = generateSequence { input.read().takeIf { it >= 0 } }.takeWhile { it != '\n'.code }.map { it.toByte() }.toList()
        return if (bytes.isEmpty()) null else bytes.toByteArray().decodeToString().trim()
    }

    private fun OutputStream.head(status: String, vararg lines: String) =
        write("HTTP/1.1 $status\r\n${lines.joinToString("") { "$it\r\n" }}Connection: close\r\n\r\n".toByteArray())

    @AfterEach
    fun close() = server.close()

    private suspend fun send(path: String, timeout: Double = 5.0, method: String = "GET", body: ByteArray? = null): RawAnswer =
        transport.send(Request(method, url + path, mapOf("accept" to "application/json"), body), Limits(timeout, 1 shl 20))

    private suspend fun noAnswer(path: String, timeout: Double = 5.0) = failure { send(path, timeout) } as NoAnswer

    @Test
    fun `headers, bytes, no redirect, no compression`() = test {
        serve { path, _, out ->
            if (path == "/away") return@serve out.head("307 Away", "Location: $url/arrived", "Content-Length: 0")
            out.head("200 OK", "Set-Cookie: a=b", "Baton-Request-Id: 0123abcd-ef", "Twice: 1", "Twice: 2", "Content-Length: 2")
            out.write("é".toByteArray())
        }
        val answer = send("/a%20b?q=%7E")
        assertEquals(listOf(200, "0123abcd-ef", "1, 2"), listOf(answer.status, answer.headers["baton-request-id"], answer.headers["twice"]))
        assertEquals("$url/a%20b?q=%7E", answer.url)
        assertArrayEquals("é".toByteArray(), answer.bytes)
        assertEquals(307, send("/away").status)
        assertEquals(200, send("/", method = "DELETE").status)
        assertEquals(listOf("GET /a%20b?q=%7E HTTP/1.1", "GET /away HTTP/1.1", "DELETE / HTTP/1.1"), heads.map { it[0] })
        assertTrue(heads.none { head -> head.any { it.lowercase().startsWith("cookie") } })
        for (head in heads) assertTrue(head.map { it.lowercase() }.containsAll(listOf("accept: application/json", "accept-encoding: identity")))
    }

    @Test
    fun `refusals and empty answers come through as they are`() = test {
        serve { path, _, out ->
            when (path) {
                "/bearer" -> out.head("401 No", "WWW-Authenticate: Bearer error=\"invalid_token\"", "Content-Length: 2")
                "/conflict" -> out.head("409 No", "Content-Length: 2")
                "/without" -> out.head("503 No", "Content-Length: 0")
                "/empty" -> out.head("204 None")
            }
            if (path == "/bearer" || path == "/conflict") out.write("{}".toByteArray())
        }
        for ((path, status, text) in listOf(Triple("/bearer", 401, "{}"), Triple("/conflict", 409, "{}"), Triple("/without", 503, ""), Triple("/empty", 204, ""))) {
            val answer = send(path)
            assertEquals(listOf(status, text), listOf(answer.status, answer.bytes.decodeToString()))
        }
        assertEquals(4, heads.size, "no request is repeated")
    }

    @Test
    fun `what is certainly not sent`() = test {
        server.close()
        assertFalse(noAnswer("/").sent)
        val nowhere = Request("GET", "http://no-such-host.invalid/", emptyMap(), null)
        assertFalse((failure { transport.send(nowhere, Limits(5.0, 1)) } as NoAnswer).sent)
    }

    @Test
    fun `a head that drips, a body that drips, one that is too long, one that is cut, and none`() = test {
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
                "/drip", "/drip-head" -> {
                    if (path == "/drip") out.head("200 OK", "Content-Length: 10000") else out.write("HTTP/1.1 200 OK\r\nX-".toByteArray())
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
        for (path in listOf("/cut", "/closed")) assertTrue(noAnswer(path).sent)
        for (path in listOf("/drip", "/drip-head")) {
            val began = System.nanoTime()
            val lost = noAnswer(path, 0.3)
            assertTrue("in time" in lost.message!! && lost.sent)
            assertTrue(System.nanoTime() - began < 3_000_000_000)
        }
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
    fun `a request whose connection is dropped is sent once, but for a safe one`() = test {
        serve { _, socket, _ -> socket.close() }
        for (method in listOf("POST", "DELETE", "PUT")) {
            for (body in listOf("x".toByteArray(), null)) {
                heads.clear()
                assertTrue((failure { send("/", method = method, body = body) } as NoAnswer).sent)
                Thread.sleep(50)
                assertEquals(1, heads.size, method)
            }
        }
    }

    /** The JDK cannot return a 401 to a request with a body that it cannot send again. Android can. */
    private class Answering(url: URL, private val text: String = "{}") : HttpURLConnection(url) {
        val sent = ByteArrayOutputStream()
        var streamed = -1

        override fun connect() = Unit
        override fun disconnect() = Unit
        override fun usingProxy() = false
        override fun setFixedLengthStreamingMode(contentLength: Int) {
            streamed = contentLength
        }

        override fun getOutputStream() = sent
        override fun getResponseCode() = 401
        override fun getErrorStream() = ByteArrayInputStream(text.toByteArray())
        override fun getHeaderFieldKey(n: Int) = listOf(null, "Content-Type", "Content-Length").getOrNull(n)
        override fun getHeaderField(n: Int) = listOf("HTTP/1.1 401 No", "application/json", "2").getOrNull(n)
    }

    @Test
    fun `the thread of a body that drips ends at the deadline, whatever the platform does`() = test {
        val reads = AtomicInteger()
        val dripping = object : InputStream() {
            override fun read() = 'x'.code
            override fun read(bytes: ByteArray, from: Int, most: Int): Int {
                reads.incrementAndGet()
                Thread.sleep(20)
                return 1
            }
        }
        val deaf = { at: URL ->
            object : HttpURLConnection(at) {
                override fun connect() = Unit
                override fun disconnect() = Unit
                override fun usingProxy() = false
                override fun getResponseCode() = 200
                override fun getInputStream() = dripping
            }
        }
        val lost = failure { UrlTransport(deaf).send(Request("GET", "https://api.example.com/api/x", emptyMap(), null), Limits(0.3, 1 shl 20)) } as NoAnswer
        assertTrue(lost.sent)
        Thread.sleep(200)
        val before = reads.get()
        Thread.sleep(200)
        assertEquals(before, reads.get())
    }

    @Test
    fun `an answer that is shorter than it says`() = test {
        val short = { at: URL -> Answering(at, "{") }
        val lost = failure { UrlTransport(short).send(Request("POST", "https://api.example.com/api/x", emptyMap(), null), Limits(7.0, 100)) } as NoAnswer
        assertTrue("cut" in lost.message!!)
    }

    @Test
    fun `a refused POST - its body has a stated length, its refusal is read`() = test {
        for (body in listOf("a=b", "")) {
            lateinit var made: Answering
            val request = Request("POST", "https://api.example.com/api/x", mapOf("content-type" to "text/plain"), body.toByteArray().takeIf { it.isNotEmpty() })
            val answer = UrlTransport { at -> Answering(at).also { made = it } }.send(request, Limits(7.0, 100))
            assertEquals(listOf(401, "{}", "application/json"), listOf(answer.status, answer.bytes.decodeToString(), answer.headers["content-type"]))
            assertEquals(listOf(body, body.length, "POST", true), listOf(made.sent.toString(), made.streamed, made.requestMethod, made.doOutput))
            assertEquals(listOf(false, false, 7000, 7000), listOf(made.instanceFollowRedirects, made.useCaches, made.connectTimeout, made.readTimeout))
        }
    }
}
