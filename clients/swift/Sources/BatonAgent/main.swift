import Baton
print("agent")
