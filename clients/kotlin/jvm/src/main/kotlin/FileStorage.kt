package baton.client.jvm

import baton.client.Baton
import baton.client.DeviceRecord
import baton.client.Options
import baton.client.SoftwareKeys
import baton.client.Storage
import baton.client.Transport
import baton.client.readRecord
import baton.client.writeRecord
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.Path
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.nio.file.StandardOpenOption.CREATE
import java.nio.file.StandardOpenOption.READ
import java.nio.file.StandardOpenOption.TRUNCATE_EXISTING
import java.nio.file.StandardOpenOption.WRITE
import java.nio.file.attribute.FileAttribute
import java.nio.file.attribute.PosixFilePermissions
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * The record in a folder of its own, shared by processes. A write makes a second file, flushes it to the disk, and then replaces
 * it. Writers wait for each other on a lock file, which the system releases when a process ends. Readers need no lock.
 */
public class FileStorage(folder: Path) : Storage {
    private val folder = folder.toAbsolutePath().normalize()
    private val record = this.folder.resolve("record.json")
    private val beside = this.folder.resolve("record.new")
    private val lockFile = this.folder.resolve("lock")

    override fun read(): DeviceRecord =
        try {
            readRecord(Files.readString(record))
        } catch (_: NoSuchFileException) {
            DeviceRecord()
        }

    override fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord = alone {
        val before = read()
        change(before).also { after -> if (after != before) write(writeRecord(after)) }
    }

    /** Run alone among the threads and processes that use this folder. The lock of a file belongs to a whole process. */
    private fun <T> alone(work: () -> T): T = LOCKS.computeIfAbsent(folder) { ReentrantLock() }.withLock {
        Files.createDirectories(folder, *mode("rwx------"))
        FileChannel.open(lockFile, setOf(CREATE, WRITE), *mode("rw-------")).use { file ->
            file.lock().use { work() }
        }
    }

    private fun write(text: String) {
        FileChannel.open(beside, setOf(CREATE, TRUNCATE_EXISTING, WRITE), *mode("rw-------")).use { file ->
            val bytes = ByteBuffer.wrap(text.toByteArray())
            while (bytes.hasRemaining()) file.write(bytes)
            file.force(true)
        }
        Files.move(beside, record, ATOMIC_MOVE, REPLACE_EXISTING)
        if (POSIX) FileChannel.open(folder, READ).use { it.force(true) } // The name is on the disk too.
    }

    override fun toString(): String = "FileStorage($folder)"

    private companion object {
        val LOCKS = ConcurrentHashMap<Path, ReentrantLock>()
        val POSIX = "posix" in FileSystems.getDefault().supportedFileAttributeViews()

        fun mode(text: String): Array<FileAttribute<*>> =
            if (POSIX) arrayOf(PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(text))) else emptyArray()
    }
}

/** Make a client: the record, with its key, in a folder that only its owner can read. Several processes may share it. */
public fun jvmBaton(
    baseUrl: String, clientId: String, folder: Path, transport: Transport = JdkTransport(), options: Options = Options(),
): Baton = Baton(baseUrl, clientId, FileStorage(folder), SoftwareKeys(), transport, options)
