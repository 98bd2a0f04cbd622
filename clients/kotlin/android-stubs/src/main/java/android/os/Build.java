package android.os;

import baton.stubs.Phone;

public class Build {
    public static class VERSION {
        /** Final on a phone. A test sets it, and {@link Phone#apiLevel} with it. */
        public static int SDK_INT = Phone.apiLevel;
    }
}
