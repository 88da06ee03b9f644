/*
 * What mk/layouts reads: the compiler's word for what is in the rooms'
 * messages and in the spawner's records.  Never linked.
 */
#include "common/frame.h"
#include "common/log.h"
#include "common/sess.h"
#include "proto/api.h"
#include "proto/boot.h"
#include "proto/boot_room.h"
#include "proto/chan.h"
#include "proto/jail.h"
#include "proto/keep.h"
#include "proto/launch.h"
#include "proto/machine.h"
#include "proto/net.h"
#include "proto/objects.h"
#include "proto/orch.h"
#include "proto/room.h"
#include "proto/spawn.h"
#include "proto/uids.h"
#include "proto/ward.h"
#include "spawner/record.h"

extern const int layouts_nothing;
const int layouts_nothing = 0;
