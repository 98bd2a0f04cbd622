package baton.client.android

import baton.client.BrokenStorage
import baton.client.DeviceRecord
import baton.client.Ended
import baton.client.Revocation
import baton.client.test
import baton.stubs.Phone
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

/** Adds revocations to a record: another process of the app, which the tests start, and kill. */
object Writer {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val storage = AndroidStorage(FakeContext(File(arguments[0])), "mobile")
        repeat(arguments[1].toInt()) { storage.update(::added) }
    }

    fun added(record: DeviceRecord): DeviceRecord =
        record.copy(revocations = record.revocations + Revocation("t", null, null, record.revocations.size.toDouble()))
}

@Timeout(120)
class StorageTest {
    @TempDir
    lateinit var files: File
    private val context by lazy { FakeContext(files) }
    private val folder get() = File(files, "no_backup/baton/mobile")

    @BeforeEach
    fun begin() = FakeKeyStore.reset()

    private fun storage() = AndroidStorage(context, "mobile")

    private fun writer(times: Int): Process = ProcessBuilder(
        File(System.getProperty("java.home"), "bin/java").path, "-Xmx64m", "-XX:TieredStopAtLevel=1",
        "-cp", System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path"), Writer::class.java.name, "$files", "$times",
    ).inheritIO().start()

    @Test
    fun `one record, in the folder that no backup contains`() {
        assertEquals(DeviceRecord(), storage().read())
        repeat(3) { time -> storage().update { it.copy(ended = Ended(null, time.toDouble())) } }
        assertEquals(2.0, storage().read().ended!!.at)
        assertEquals(listOf("lock", "record.json"), folder.list()!!.sorted())
        assertEquals(DeviceRecord(), AndroidStorage(context, "other").read())
        for (name in listOf("", "..", "a/b", "a b")) assertThrows(IllegalArgumentException::class.java) { AndroidStorage(context, name) }
    }

    @Test
    fun `until the phone is unlocked - no answer, not an empty record`() {
        storage().update(Writer::added)
        Phone.unlocked = false
        assertThrows(IOException::class.java) { storage().read() }
        assertThrows(IOException::class.java) { storage().update(Writer::added) }
        Phone.unlocked = true
        assertEquals(1, storage().read().revocations.size)
    }

    @Test
    fun `level 23 has no such lock, and is not asked for it`() {
        FakeKeyStore.reset(23)
        Phone.unlocked = false
        assertEquals(1, storage().update(Writer::added).revocations.size)
    }

    @Test
    fun `two processes, 100 updates each, and threads beside them - none is lost`() = test {
        val writers = List(2) { writer(100) }
        val threads = List(4) { async(Dispatchers.IO) { repeat(25) { storage().update(Writer::added) } } }
        threads.awaitAll()
        assertEquals(listOf(0, 0), writers.map { it.waitFor() })
        assertEquals(300, storage().read().revocations.size)
    }

    @Test
    fun `an app that is killed leaves a whole record, and no lock`() {
        val killed = writer(1_000_000)
        while (storage().read().revocations.size < 5) Thread.sleep(5)
        killed.destroyForcibly().waitFor(10, TimeUnit.SECONDS)
        val before = storage().read().revocations.size
        assertEquals(before + 1, storage().update(Writer::added).revocations.size)
    }

    @Test
    fun `a broken record is not changed, and one that cannot be read is not empty`() {
        storage().update(Writer::added)
        val file = File(folder, "record.json")
        file.writeText("{")
        assertThrows(BrokenStorage::class.java) { storage().update(Writer::added) }
        assertEquals("{", file.readText())
        file.delete()
        file.mkdir()
        assertThrows(FileNotFoundException::class.java) { storage().read() }
    }

    @Test
    fun `a change that fails leaves the record, and the lock is free`() {
        val before = storage().update(Writer::added)
        assertThrows(IllegalStateException::class.java) { storage().update { error("a fault") } }
        assertEquals(before, storage().read())
        File(folder, "record.new").apply { delete(); mkdir() }
        assertThrows(IOException::class.java) { storage().update(Writer::added) }
        assertEquals(before, storage().read())
    }
}
