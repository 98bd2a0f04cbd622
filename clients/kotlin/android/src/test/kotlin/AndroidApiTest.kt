package baton.client.android

import baton.client.ClassFile
import baton.client.Named
import baton.client.classesOf
import baton.client.laterThan23
import java.util.zip.ZipFile
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test

private const val BUILDER = "android/security/keystore/KeyGenParameterSpec\$Builder"

/** What the module names of Android, and the level with which it came (developer.android.com/reference). */
private val LEVELS = mapOf(
    "android/content/Context" to 1,
    "android/content/Context.getApplicationContext()Landroid/content/Context;" to 1,
    "android/content/Context.getNoBackupFilesDir()Ljava/io/File;" to 21,
    "android/content/Context.getSystemService(Ljava/lang/Class;)Ljava/lang/Object;" to 23,
    "android/os/Build" to 1,
    "android/os/Build\$VERSION" to 1,
    "android/os/Build\$VERSION.SDK_INTI" to 4,
    "android/os/UserManager" to 17,
    "android/os/UserManager.isUserUnlocked()Z" to 24,
    "android/security/KeyStoreException" to 23, // Public since 33: before, only the system names it.
    "android/security/KeyStoreException.isTransientFailure()Z" to 33,
    "android/security/keystore/KeyGenParameterSpec" to 23,
    "$BUILDER" to 23,
    "$BUILDER.<init>(Ljava/lang/String;I)V" to 23,
    "$BUILDER.build()Landroid/security/keystore/KeyGenParameterSpec;" to 23,
    "$BUILDER.setAlgorithmParameterSpec(Ljava/security/spec/AlgorithmParameterSpec;)L$BUILDER;" to 23,
    "$BUILDER.setDigests([Ljava/lang/String;)L$BUILDER;" to 23,
    "$BUILDER.setIsStrongBoxBacked(Z)L$BUILDER;" to 28,
    "android/security/keystore/KeyPermanentlyInvalidatedException" to 23,
)

/** These functions are behind a comparison of the level. A stub fails as a phone of an earlier level does. */
private val LATER = setOf(
    "android/os/UserManager.isUserUnlocked()Z",
    "android/security/KeyStoreException.isTransientFailure()Z",
    "$BUILDER.setIsStrongBoxBacked(Z)L$BUILDER;",
)

/** The module runs on API level 23 of Android. */
class AndroidApiTest {
    private val classes = classesOf("target/classes")

    @Test
    fun `no class names what came after level 23, but for three functions`() {
        assertTrue(classes.size > 8)
        assertEquals(emptyList<String>(), laterThan23(classes))
        val android = classes.flatMap { it.named }.filter { it.owner.startsWith("android/") }.map { it.toString() }.toSet()
        assertEquals(LEVELS.keys.sorted(), android.sorted())
        assertEquals(LATER, LEVELS.filterValues { it > 23 }.keys)
    }
}

/**
 * Compares with the classes of a real Android 6.0, which is level 23: `mvn test -Pandroid-all`, after the
 * download of 72 MB that the profile names. So `make clients` does not run it.
 */
@Tag("android-all")
class AndroidAllTest {
    private val jar = ZipFile(requireNotNull(System.getProperty("android.all")) { "mvn test -Pandroid-all" })
    private val read = HashMap<String, ClassFile?>()

    /** The jar has no `java/lang`: the names in it are compared with this JDK. */
    private fun real(name: String): ClassFile? = read.getOrPut(name) {
        val input = if (name.startsWith("java/lang/")) ClassLoader.getSystemResourceAsStream("$name.class") else jar.getEntry("$name.class")?.let(jar::getInputStream)
        input?.use { ClassFile(it.buffered()) }
    }

    private fun has(owner: String, member: String): Boolean =
        real(owner)?.let { file -> member in file.members || file.parents.any { has(it, member) } } == true

    private fun missing(one: Named) = if (one.name.isEmpty()) real(one.owner) == null else !has(one.owner, one.name + one.type)

    /** `java/lang/invoke` is the machinery of lambdas and of texts with values: the build of an app replaces it. */
    private fun ofAndroid(one: Named) = Regex("(java|javax|android)/.*").matches(one.owner) && !one.owner.startsWith("java/lang/invoke/")

    @Test
    fun `level 23 has every class, method and field that core and android name`() {
        val named = (classesOf("target/classes") + classesOf("../core/target/classes")).flatMap { it.named }.filter(::ofAndroid).toSet()
        assertTrue(named.size > 100)
        assertEquals(LATER, named.filter(::missing).map { it.toString() }.toSet())
    }

    @Test
    fun `level 23 has what the stubs have`() {
        val hidden = listOf("android/app/AlertDialog.<init>", "android/os/UserManager.<init>", "android/security/KeyStoreException.<init>")
        val later = listOf("android/security/keystore/StrongBoxUnavailableException.", "android/security/keystore/KeyGenParameterSpec.isStrongBox")
        val private = listOf("android/security/keystore/KeyGenParameterSpec.<init>")
        val stubs = classesOf("../android-stubs/target/classes").filter { it.name.startsWith("android/") }
        val missing = stubs.flatMap { file -> file.members.map { Named(file.name, it.substringBefore('('), it.substring(it.substringBefore('(').length)) } }
        assertEquals(emptyList<String>(), missing.filter { '(' in it.type && missing(it) }.map { it.toString() }.filter { name -> name !in LATER && (hidden + later + private).none(name::startsWith) })
    }
}
