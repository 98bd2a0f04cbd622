package baton.client

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** The module core runs on API level 23 of Android: it uses no class that came later. */
class AndroidApiTest {
    private val later = listOf(
        "java/time/", "java/nio/file/", "java/net/http/", "java/util/Base64", "java/util/function/", "java/util/stream/",
        "java/util/Optional", "java/util/concurrent/CompletableFuture", "java/lang/ProcessHandle",
    )

    @Test
    fun `no class names a later one`() {
        val classes = File("target/classes").walk().filter { it.extension == "class" }.toList()
        assertTrue(classes.size > 50)
        val found = classes.flatMap { file ->
            val text = file.readText(Charsets.ISO_8859_1)
            later.filter { it in text }.map { "${file.name}: $it" }
        }
        assertEquals(emptyList<String>(), found)
    }

    @Test
    fun `the search finds such a name where it stands`() {
        val here = File("target/test-classes").walk().first { it.name == "VectorsKt.class" }.readText(Charsets.ISO_8859_1)
        assertTrue("java/util/Base64" in here)
    }
}
