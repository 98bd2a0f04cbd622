package baton.client.android

import android.content.Context
import android.os.Build
import android.os.UserManager
import baton.client.Baton
import baton.client.Binding
import baton.client.DeviceRecord
import baton.client.Options
import baton.client.Storage
import baton.client.Transport
import baton.client.readRecord
import baton.client.writeRecord
import java.io.File
import java.io.FileNotFoundException
import java.io.FileOutputStream
import java.io.IOException
import java.io.RandomAccessFile
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

private val NAME = Regex("[A-Za-z0-9_-]{1,64}")
private val LOCKS = ConcurrentHashMap<String, ReentrantLock>()

internal fun nameOf(name: String): String = name.also { require(NAME.matches(it)) { "A name has letters, digits, - and _." } }

/**
 * The record in `noBackupFilesDir/baton/<name>`, which no backup and no transfer to another phone contains. The processes of
 * the app share it. A write makes a second file, flushes it to the disk, and then replaces it. Writers wait for each other on a lock
 * file, which the system releases when a process ends. Readers need no lock.
 *
 * Until the person has unlocked the phone once after its start, each function throws: the files cannot be read then, and
 * look as if they did not exist.
 */
public class AndroidStorage(private val context: Context, name: String) : Storage {
    private val name = nameOf(name)
    private val users: UserManager = context.getSystemService(UserManager::class.java)

    override fun read(): DeviceRecord = read(folder())

    override fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord {
        val folder = folder()
        // The lock of a file belongs to a whole process, and a second one of the same process throws.
        val lock = LOCKS[folder.path] ?: ReentrantLock().let { LOCKS.putIfAbsent(folder.path, it) ?: it }
        return lock.withLock {
            if (!folder.isDirectory && !folder.mkdirs() && !folder.isDirectory) throw IOException("The folder of the record cannot be made.")
            RandomAccessFile(File(folder, "lock"), "rw").use { file ->
                file.channel.lock().use {
                    val before = read(folder)
                    change(before).also { after -> if (after != before) write(folder, writeRecord(after)) }
                }
            }
        }
    }

    private fun read(folder: File): DeviceRecord {
        val file = File(folder, "record.json")
        val text = try {
            file.readText()
        } catch (error: FileNotFoundException) {
            // The exception is the same if the file exists and cannot be opened.
            checkUnlocked()
            if (file.exists()) throw error
            return DeviceRecord()
        }
        return readRecord(text)
    }

    private fun write(folder: File, text: String) {
        val beside = File(folder, "record.new")
        FileOutputStream(beside).use { file ->
            file.write(text.toByteArray())
            file.fd.sync()
        }
        if (!beside.renameTo(File(folder, "record.json"))) throw IOException("The record cannot be replaced.")
    }

    private fun folder(): File {
        checkUnlocked()
        return File(context.noBackupFilesDir, "baton/$name")
    }

    private fun checkUnlocked() {
        if (Build.VERSION.SDK_INT >= 24 && !users.isUserUnlocked) throw IOException("The phone was not unlocked since its start.")
    }

    override fun toString(): String = "AndroidStorage($name)"
}

/**
 * Make a client: the record in `noBackupFilesDir`, the key in the Android key store. [name] is a part of the names of both:
 * an app with clients of several servers gives each client its own name.
 */
public fun androidBaton(
    context: Context, baseUrl: String, clientId: String, transport: Transport = UrlTransport(), options: Options = Options(), name: String = clientId,
): Baton {
    require(options.binding != Binding.HMAC) { "A phone has a key store. Use Binding.KEY." }
    val storage = AndroidStorage(context.applicationContext ?: context, name)
    return Baton(baseUrl, clientId, storage, AndroidKeys(storage, name), transport, options)
}
