package baton.stubs;

/** The phone of the tests: the state that the stubs share. Android has no such class. */
public final class Phone {
    public static volatile int apiLevel = 36;
    public static volatile boolean unlocked = true;

    private Phone() {}

    /** Fail as a phone of an earlier level does. */
    public static void needs(int level, String method) {
        if (apiLevel < level) throw new NoSuchMethodError(method + " came with level " + level);
    }
}
