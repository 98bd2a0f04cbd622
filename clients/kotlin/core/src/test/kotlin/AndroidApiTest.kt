package baton.client

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** The module core runs on API level 23 of Android: it names nothing that came later. */
class AndroidApiTest {
    @Test
    fun `no class names a later one`() {
        val classes = classesOf("target/classes")
        assertTrue(classes.size > 50)
        assertEquals(emptyList<String>(), laterThan23(classes))
    }

    @Test
    fun `the search finds such a name where it stands`() {
        val here = classesOf("target/test-classes").filter { it.name == "baton/client/VectorsKt" }
        assertTrue(laterThan23(here).any { "java/util/Base64" in it })
    }
}
