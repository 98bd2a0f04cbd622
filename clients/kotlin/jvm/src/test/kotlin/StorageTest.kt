package baton.client.jvm

import baton.client.BASE
import baton.client.BrokenStorage
import baton.client.DeviceRecord
import baton.client.EMAIL
import baton.client.Ended
import baton.client.FakeServer
import baton.client.NAME
import baton.client.Options
import baton.client.PASSWORD
import baton.client.Revocation
import baton.client.expire
import baton.client.test
import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.attribute.PosixFilePermissions
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

/** Adds revocations to a record: the process that the tests start, and kill. */
object Writer {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val storage = FileStorage(Path.of(arguments[0]))
        repeat(arguments[1].toInt()) { storage.update(::added) }
    }

    fun added(record: DeviceRecord): DeviceRecord =
        record.copy(revocations = record.revocations + Revocation("t", null, null, record.revocations.size.toDouble()))
}

@Timeout(120)
class StorageTest {
    @TempDir
    lateinit var temporary: Path
    private val folder get() = temporary.resolve("record")

    private fun writer(folder: Path, times: Int): Process = ProcessBuilder(
        File(System.getProperty("java.home"), "bin/java").path, "-Xmx64m", "-XX:TieredStopAtLevel=1",
        "-cp", System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path"), Writer::class.java.name, "$folder", "$times",
    ).inheritIO().start()

    @Test
    fun `one record, of its owner alone`() {
        val storage = FileStorage(folder)
        assertEquals(DeviceRecord(), storage.read())
        repeat(3) { time -> storage.update { it.copy(ended = Ended(null, time.toDouble())) } }
        assertEquals(2.0, FileStorage(folder).read().ended!!.at)
        assertEquals(listOf("lock", "record.json"), folder.toFile().list()!!.sorted())
        fun mode(path: Path) = PosixFilePermissions.toString(Files.getPosixFilePermissions(path))
        assertEquals(listOf("rwx------", "rw-------", "rw-------"), listOf(folder, folder.resolve("record.json"), folder.resolve("lock")).map(::mode))
    }

    @Test
    fun `three processes, 100 updates each, and threads beside them - none is lost`() = test {
        val writers = List(3) { writer(folder, 100) }
        val threads = List(4) { async(Dispatchers.IO) { repeat(25) { FileStorage(folder).update(Writer::added) } } }
        threads.awaitAll()
        assertEquals(listOf(0, 0, 0), writers.map { it.waitFor() })
        assertEquals(400, FileStorage(folder).read().revocations.size)
    }

    @Test
    fun `a writer that is killed leaves a whole record, and no lock`() {
        val storage = FileStorage(folder)
        val killed = writer(folder, 1_000_000)
        while (storage.read().revocations.size < 5) Thread.sleep(5)
        killed.destroyForcibly().waitFor(10, TimeUnit.SECONDS)
        val before = storage.read().revocations.size
        assertEquals(before + 1, storage.update(Writer::added).revocations.size)
    }

    @Test
    fun `a broken record is not changed, and one that cannot be read is not empty`() {
        val storage = FileStorage(folder)
        storage.update(Writer::added)
        val file = folder.resolve("record.json")
        Files.writeString(file, "{")
        assertThrows(BrokenStorage::class.java) { storage.update(Writer::added) }
        assertEquals("{", Files.readString(file))
        Files.delete(file)
        Files.createDirectory(file)
        assertThrows(java.io.IOException::class.java) { storage.read() }
    }

    @Test
    fun `a change that fails leaves the record, and the lock is free`() {
        val storage = FileStorage(folder)
        val before = storage.update(Writer::added)
        assertThrows(IllegalStateException::class.java) { storage.update { error("a fault") } }
        assertEquals(before, storage.read())
        assertEquals(2, storage.update(Writer::added).revocations.size)
    }

    @Test
    fun `two clients of one folder share a login`() = test {
        val server = FakeServer()
        val (first, second) = List(2) { jvmBaton(BASE, "mobile", folder, server.transport, Options(clock = { server.time })) }
        first.login(EMAIL, PASSWORD, NAME)
        expire(FileStorage(folder))
        listOf(async { first.me() }, async { second.me() }).awaitAll()
        assertEquals(1, server.lineage().generation)
        assertTrue(server.sent("/oauth/token").map { it.headers["idempotency-key"] }.toSet().size == 1)
    }
}
