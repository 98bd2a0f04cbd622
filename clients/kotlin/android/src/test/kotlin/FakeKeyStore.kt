package baton.client.android

import android.content.Context
import android.os.Build
import android.os.UserManager
import android.security.keystore.KeyGenParameterSpec
import baton.stubs.Phone
import java.io.File
import java.io.InputStream
import java.io.OutputStream
import java.security.InvalidKeyException
import java.security.Key
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.KeyPairGeneratorSpi
import java.security.KeyStoreSpi
import java.security.PrivateKey
import java.security.Provider
import java.security.PublicKey
import java.security.SecureRandom
import java.security.Security
import java.security.Signature
import java.security.SignatureSpi
import java.security.cert.Certificate
import java.security.spec.AlgorithmParameterSpec
import java.util.Collections
import java.util.Date
import java.util.Enumeration
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ConcurrentLinkedQueue

/** The hardware of a phone: its keys, and its trouble. It is a provider of the JCA, with the name that Android's has. */
object FakeKeyStore {
    class Entry(val wanted: KeyGenParameterSpec, val pair: KeyPair, var created: Date)

    val entries: MutableMap<String, Entry> = ConcurrentHashMap()

    /** Each call of `getKey` throws one of them. */
    val troubles = ConcurrentLinkedQueue<Exception>()
    @Volatile var signTrouble: Exception? = null
    @Volatile var strongBox: () -> Unit = {}

    /** Nanoseconds that pass at each signature in StrongBox. */
    @Volatile var slowness: List<Long> = emptyList()
    @Volatile var time = 0L
    private val provider = object : Provider("AndroidKeyStore", "1", "fake") {
        init {
            put("KeyStore.AndroidKeyStore", Store::class.java.name)
            put("KeyPairGenerator.EC", Generator::class.java.name)
            put("Signature.SHA256withECDSA", Signing::class.java.name)
        }
    }

    /** Begin with an empty phone of this level. */
    fun reset(level: Int = 36) {
        if (Security.getProvider(provider.name) == null) Security.addProvider(provider)
        entries.clear()
        troubles.clear()
        signTrouble = null
        strongBox = {}
        slowness = emptyList()
        Phone.apiLevel = level
        Phone.unlocked = true
        Build.VERSION.SDK_INT = level
    }

    /** A private key that has no bytes, as one of Android. */
    class HiddenKey(val alias: String) : PrivateKey {
        override fun getAlgorithm() = "EC"
        override fun getFormat(): String? = null
        override fun getEncoded(): ByteArray? = null
    }

    private class Shown(private val key: PublicKey) : Certificate("fake") {
        override fun getEncoded(): ByteArray = throw UnsupportedOperationException()
        override fun verify(key: PublicKey) = Unit
        override fun verify(key: PublicKey, provider: String) = Unit
        override fun toString() = "fake"
        override fun getPublicKey() = key
    }

    class Store : KeyStoreSpi() {
        override fun engineGetKey(alias: String, password: CharArray?): Key? {
            troubles.poll()?.let { throw it }
            return if (alias in entries) HiddenKey(alias) else null
        }

        override fun engineGetCertificate(alias: String): Certificate? = entries[alias]?.let { Shown(it.pair.public) }
        override fun engineGetCreationDate(alias: String): Date? = entries[alias]?.created
        override fun engineDeleteEntry(alias: String) { entries.remove(alias) }
        override fun engineAliases(): Enumeration<String> = Collections.enumeration(entries.keys.toList())
        override fun engineContainsAlias(alias: String) = alias in entries
        override fun engineLoad(stream: InputStream?, password: CharArray?) = Unit
        override fun engineSize() = entries.size
        override fun engineIsKeyEntry(alias: String) = alias in entries
        override fun engineIsCertificateEntry(alias: String) = false
        override fun engineGetCertificateChain(alias: String): Array<Certificate>? = null
        override fun engineGetCertificateAlias(certificate: Certificate): String? = null
        override fun engineSetKeyEntry(a: String, k: Key, p: CharArray?, c: Array<Certificate>?) = throw UnsupportedOperationException()
        override fun engineSetKeyEntry(a: String, k: ByteArray, c: Array<Certificate>?) = throw UnsupportedOperationException()
        override fun engineSetCertificateEntry(a: String, c: Certificate) = throw UnsupportedOperationException()
        override fun engineStore(stream: OutputStream?, password: CharArray?) = throw UnsupportedOperationException()
    }

    class Generator : KeyPairGeneratorSpi() {
        private lateinit var wanted: KeyGenParameterSpec

        override fun initialize(size: Int, random: SecureRandom?) = throw UnsupportedOperationException()

        override fun initialize(params: AlgorithmParameterSpec, random: SecureRandom?) {
            wanted = params as KeyGenParameterSpec
        }

        override fun generateKeyPair(): KeyPair {
            if (strong(wanted)) strongBox()
            val pair = KeyPairGenerator.getInstance("EC", "SunEC").apply { initialize(wanted.algorithmParameterSpec) }.generateKeyPair()
            entries[wanted.keystoreAlias] = Entry(wanted, pair, Date())
            return KeyPair(pair.public, HiddenKey(wanted.keystoreAlias))
        }
    }

    class Signing : SignatureSpi() {
        private val real = Signature.getInstance("SHA256withECDSA", "SunEC")
        private lateinit var entry: Entry

        override fun engineInitSign(key: PrivateKey) {
            if (key !is HiddenKey) throw InvalidKeyException("not a key of this store")
            signTrouble?.let { throw it }
            entry = entries[key.alias] ?: throw InvalidKeyException("KEY_NOT_FOUND")
            real.initSign(entry.pair.private)
        }

        override fun engineSign(): ByteArray {
            if (strong(entry.wanted)) slowness.firstOrNull()?.let { time += it; slowness = slowness.drop(1) }
            return real.sign()
        }

        override fun engineUpdate(b: Byte) = real.update(b)
        override fun engineUpdate(b: ByteArray, off: Int, len: Int) = real.update(b, off, len)
        override fun engineInitVerify(key: PublicKey) = throw InvalidKeyException("it only signs")
        override fun engineVerify(signature: ByteArray) = throw UnsupportedOperationException()

        @Deprecated("of the JCA")
        override fun engineSetParameter(name: String, value: Any?) = throw UnsupportedOperationException()

        @Deprecated("of the JCA")
        override fun engineGetParameter(name: String) = throw UnsupportedOperationException()
    }

    fun strong(wanted: KeyGenParameterSpec) = Phone.apiLevel >= 28 && wanted.isStrongBoxBacked
}

/** An app on the phone, with its files in a folder. */
class FakeContext(private val files: File) : Context() {
    private val users = UserManager()

    override fun getApplicationContext() = this
    override fun getNoBackupFilesDir() = File(files, "no_backup").apply { mkdirs() }
    override fun getSystemServiceName(serviceClass: Class<*>) = if (serviceClass == UserManager::class.java) USER_SERVICE else ""
    override fun getSystemService(name: String): Any? = if (name == USER_SERVICE) users else null
}
