/*
 * The protocol of the lock, version 2 (src/protocol, src/acquire, src/lease), as a model for Spin.
 * docs/model.md says how it is run, and what was seen.
 *
 * One server keeps one lock: its holders, a lease for each of them, and a queue of waiters. N clients take the lock
 * ROUNDS times each. A round is one acquire, with a token of its own.
 *
 * Time is counted in ticks. A tick takes one from every lease, stay and belief. Between two ticks everything may
 * happen, in any order, and nothing has to. A client that takes no step for some ticks is slow, or frozen. It acts as
 * a holder only while its clock says so.
 *
 * FAULTS times in all, one of these happens: a request is lost; its reply is lost; it arrives late, after the client
 * has given it up; the network repeats it; a message is lost; PUBLISH does not count one who listens; a client dies.
 * These are no faults, and happen as often as they like: slow replies and messages, frozen clients, the end of a
 * lease, a grant or a stay, waiters that do not listen yet, waiters that leave.
 *
 * A request arrives when it is sent. A request that takes longer shortens only the belief of who sent it. With
 * SLOW_REQUESTS it takes as long as it likes.
 *
 * What is left out:
 * - Several keys, `downgrade`, limits that differ.
 * - Holders of other libraries and of version 1, fencing tokens, holdFor, resumed locks, `@upstash/redis` instances.
 * - Leases of different lengths under one token, but for a grant and the lease that follows it.
 * - The one-command forms of release and extend. The scripts do the same under weaker conditions.
 * - The place by the time of asking. A newcomer stands at the end of the queue.
 * - `queueUntil`. A state lives until the last lease or stay in it is over.
 * - The release that follows an abandoned request.
 * - The end of a tombstone. It stays longer than a request stays in the network.
 * - The room of the queue, and more than STAYS stays of one token: from then on it is told that it is busy.
 * - A server that fails in the middle of a script, forgets, or whose clock jumps.
 * - What `release()` and `extend()` answer to their callers.
 *
 * Each of the flags RELEASE_WITHOUT_COMPARISON and so on takes out one safeguard (test/model/spin.ts names them).
 * Spin has to find what follows.
 */

#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif

/* Times, in ticks. For liveness a grant that was cut has to last until its waiter asks. */
#ifdef LIVE
#define LEASE 3
#define STAY 3
#else
#define LEASE 2
#define STAY 2      /* of a waiter; a grant lasts as long */
#endif
#define CUT 1       /* a grant that nobody heard ends this much earlier */
#define SHORTEST 1  /* but lasts this long */
#define DRIFT 1     /* a client's clock may lose this much during a lease */
#ifdef NO_DRIFT_ALLOWANCE
#define ALLOWANCE 0
#else
#define ALLOWANCE 1
#endif

/* How many ticks a client believes in a lease: less the allowance by its own clock, which is slow. */
#define BELIEF (LEASE - ALLOWANCE + DRIFT)

/*
 * What the clients ask for. With READERS client 1 asks for an exclusive lock and the others share it. With PERMITS the
 * limit is 2, and client 1 takes both permits, the others one. Else all of them ask for an exclusive lock.
 */
#define LIMIT 2
#ifdef READERS
#define isExclusive(c) ((c) == 0)
#define weightOf(c) ((c) == 0 -> LIMIT : 0)
#define alike(c) ((c) > 1)
#else
#ifdef PERMITS
#define isExclusive(c) false
#define weightOf(c) ((c) == 0 -> 2 : 1)
#define alike(c) ((c) > 1)
#else
#define isExclusive(c) true
#define weightOf(c) LIMIT
#define alike(c) ((c) > 0)
#endif
#endif

/* Tokens are 1 to TOKENS; 0 is nobody's. */
#define TOKENS (N * ROUNDS)
#define token(c) (1 + (c) + N * client[c].round)
#define ownerOf(t) (((t) - 1) % N)
#define roundOf(t) (((t) - 1) / N)

/* How many waiters the queue has room for, and how often a token may come to stand in it. */
#define ROOM 4
#ifdef LIVE
#define STAYS 3
#else
#define STAYS 2
#endif

/* Operations, as bits: a set of them is what may still arrive late. */
#define TAKE 1      /* SET NX GET */
#define JOIN 2      /* join, and stand in the queue */
#define TRY 4       /* join, and do not stand */
#define EXTEND 8
#define RELEASE 16  /* and leave the queue */
#define BURY 32     /* the same, and leave a tombstone */

mtype:operation = { take, join_and_stand, join, extend, release, release_and_bury };
#define nameOf(o) (o == TAKE -> take : (o == JOIN -> join_and_stand : (o == TRY -> join : \
  (o == EXTEND -> extend : (o == RELEASE -> release : release_and_bury)))))

mtype:reply = { nothing, taken, own, busy, held, queued, yes, no };
mtype:phase = { idle, asking, answered, unanswered, refused, waiting, holding, over };

typedef Client {
  mtype:phase phase = idle;
  mtype:reply reply = nothing;
  unsigned round : 2;
  unsigned op : 6;        /* what is being asked */
  unsigned sent : 3;      /* what a lease counted from the last request sent has left */
  unsigned since : 3;     /* the same, counted from its first request; of a waiter from the last that was answered;
                             of a holder what is left of its belief */
  unsigned ticket : 2;    /* of its stay in the queue, as it was told */
  unsigned messages : 4;  /* on the way to it: the tickets granted */
  bit holder;             /* it acts as a holder, while its clock says that it is one */
  bit standing;           /* it ever asked to stand in the queue */
  bit abandoned;          /* it knows of requests that may arrive late */
  bit clean;              /* no request of this round may arrive late, known or not */
#ifdef LIVE
  bit extended;
#endif
};

/* What the server and the network know of a token. */
typedef Token {
  unsigned late : 6;      /* requests that may still arrive */
  unsigned stay : 2;      /* what its stay in the queue has left */
  unsigned lease : 2;     /* what its lease has left */
  bit holder;             /* the state has it as a holder, its lease may be over */
  bit granted;            /* let in by the script that runs, as a waiter */
  bit gone;               /* its tombstone */
};

Client client[N];
Token tokens[TOKENS + 1];
byte stays[N];            /* the last ticket of each client's token */

byte holders;             /* how many; 0 and an empty queue: the key is not there */
byte queue[ROOM];
byte waiters;
byte faults = FAULTS;

/* Of the script that runs; 0 between scripts. */
byte grants;              /* how many it has let in and not told */
byte told;                /* who is told */
mtype:reply said;
#ifdef A_KEYS_LIFE_CUT_BY_ONE_SHORT_LEASE
byte life;                /* what the key has left */
byte last;                /* whose lease was written last */
#endif
/* Scratch. Spin does not search by breadth where variables are hidden. */
#ifdef SHORTEST_TRAIL
#define hidden
#endif
hidden byte i, j, k, sum, blocked;
hidden mtype:operation name;

#define believes(c) (client[c].holder && client[c].since > 0)
#define isFree (holders == 0 && waiters == 0)
#ifdef LIVE
/* Client 0 waits for as long as it takes. Whoever waits asks in time, unless its request is lost. */
#define mayLeave(c) (c > 0)
#define mayExtend(c) (!client[c].extended)
#define inTime(c) !((client[c].phase == waiting && client[c].since < BELIEF) || \
  (client[c].phase == answered && client[c].op == JOIN && client[c].sent < BELIEF))
#define mayElapse (inTime(0) && inTime(1) && inTime(N - 1))
ltl served { [] (client[0].phase == waiting -> <> client[0].holder) }
#else
#define mayLeave(c) true
#define mayExtend(c) true
#define mayElapse true
#endif

#define listens(t) (client[ownerOf(t)].round == roundOf(t) && \
  (client[ownerOf(t)].phase == waiting || client[ownerOf(t)].op == JOIN))

/* ---- What has to hold ---- */

/* Together those who believe have no more than there is. A reader takes nothing of it, and nothing is left beside a writer. */
inline check() {
  j = 0;
  sum = 0;
  for (i : 0 .. N - 1) {
    if
    :: believes(i) ->
      j++;
      sum = sum + weightOf(i);
#ifdef SERVER_AGREES
      assert(tokens[token(i)].holder && tokens[token(i)].lease > 0)
#endif
    :: else
    fi
  }
#ifdef READERS
  assert(j <= 1 || sum == 0) /* never two that believe */
#else
  assert(sum <= LIMIT) /* never two that believe */
#endif
}

/* ---- What a trail says, in words ---- */

#define say(c, r, what) printf("client %d, round %d ", (c) + 1, (r) + 1); printf(what)
#define asks(c, r, o, what) say(c, r, "asks: "); name = nameOf(o); printf("%e", name); printf(what)

/* ---- The server: each of these is one script, or one command ---- */

inline removeAt(index) {
  for (j : index .. ROOM - 2) { queue[j] = queue[j + 1] }
  queue[ROOM - 1] = 0;
  waiters--
}

/* Sets i to the token's place in the queue; to `waiters` when it is not there. */
inline find(t) {
  i = 0;
  do
  :: i < waiters && queue[i] != t -> i++
  :: else -> break
  od
}

inline hold(whose, ticks) {
  if
  :: tokens[whose].holder
  :: else -> tokens[whose].holder = 1; holders++
  fi;
  tokens[whose].lease = ticks;
#ifdef A_KEYS_LIFE_CUT_BY_ONE_SHORT_LEASE
  last = whose
#endif
}

inline letGo(whose) {
  tokens[whose].holder = 0;
  tokens[whose].lease = 0;
  holders--
}

/* Sets `blocked` to whether the token does not fit beside the holders. */
inline weigh(t) {
  sum = 0;
  blocked = 0;
  for (j : 1 .. TOKENS) {
    if
#ifdef A_LIMIT_COUNTED_WITHOUT_WEIGHTS
    :: tokens[j].holder -> sum++
#else
    :: tokens[j].holder -> sum = sum + weightOf(ownerOf(j))
#endif
    :: else
    fi
  }
#ifdef READERS
  blocked = (holders > 0 && (isExclusive(ownerOf(t)) || sum > 0))
#else
  blocked = (holders > 0 && sum + weightOf(ownerOf(t)) > LIMIT)
#endif
}

/* Drops the holders whose lease is over. Lets in the waiters that are alive, up to the first that does not fit. */
inline pass() {
#ifndef A_DEAD_HOLDERS_LOCK_PASSED_ON_BY_NOBODY
  for (j : 1 .. TOKENS) {
    if
    :: tokens[j].holder && tokens[j].lease == 0 -> letGo(j)
    :: else
    fi
  }
#endif
  blocked = 0;
  do
  :: waiters > 0 && !blocked ->
    k = queue[0];
    if
    :: tokens[k].stay > 0 -> weigh(k)
    :: else
    fi;
    if
    :: blocked
    :: else ->
      if
      :: tokens[k].stay > 0 -> hold(k, tokens[k].stay); tokens[k].granted = 1; grants++
      :: else
      fi;
      removeAt(0);
      tokens[k].stay = 0
    fi
  :: else -> break
  od
}

inline stands(t) {
  find(t);
  if
  :: i < waiters -> tokens[t].stay = STAY; said = queued
  :: i == waiters && waiters < ROOM && stays[ownerOf(t)] < STAYS ->
    queue[waiters] = t;
    waiters++;
    tokens[t].stay = STAY;
    if
    :: roundOf(t) == client[ownerOf(t)].round -> stays[ownerOf(t)]++
    :: else
    fi;
    said = queued
  :: else
  fi
}

inline joins(t, o) {
  said = busy;
  if
#ifndef NO_TOMBSTONE
  :: tokens[t].gone
#endif
  :: else ->
#ifdef A_HOLDER_THAT_IS_FORGOTTEN_WHEN_THE_FIRST_WAITS
    if
    :: waiters == 0 && !tokens[t].holder ->
      for (j : 1 .. TOKENS) { tokens[j].lease = 0 }
    :: else
    fi;
#endif
    if
    :: tokens[t].holder -> hold(t, LEASE); said = held
    :: else ->
      if
      :: o == JOIN -> stands(t)
      :: else
      fi;
#ifdef A_DEAD_WAITERS_GRANT_PASSED_ON_BY_NOBODY_BUT_THE_NEXT_RELEASE
      if
      :: holders == 0 -> pass()
      :: else -> blocked = 1
      fi;
#else
      pass();
#endif
      if
      :: tokens[t].granted -> tokens[t].granted = 0; grants--; hold(t, LEASE); said = held
#ifdef A_READER_LET_PAST_A_WAITING_WRITER
      :: !tokens[t].granted && blocked && isExclusive(ownerOf(t))
      :: !tokens[t].granted && !(blocked && isExclusive(ownerOf(t))) ->
#else
      :: !tokens[t].granted && blocked
      :: !tokens[t].granted && !blocked ->
#endif
        weigh(t);
        if
        :: blocked
        :: else ->
          hold(t, LEASE);
          said = held;
          find(t);
          if
          :: i < waiters -> removeAt(i); tokens[t].stay = 0
          :: else
          fi
        fi
      fi
    fi
  fi
}

/* Takes the token out of the queue, and lets go of the lock if it is its. */
inline releases(t) {
  find(t);
  k = 0;
  if
  :: i < waiters -> removeAt(i); tokens[t].stay = 0; k = 1
  :: else
  fi;
  if
#ifdef RELEASE_WITHOUT_COMPARISON
  :: holders > 0 ->
    for (j : 1 .. TOKENS) {
      if
      :: tokens[j].holder -> letGo(j)
      :: else
      fi
    }
    k = 1
#else
  :: tokens[t].holder -> letGo(t); k = 1
#endif
  :: else
  fi;
  if
  :: k == 1 -> pass()
  :: else
  fi
}

/* Executes the operation for the token. */
inline script(t, o) {
  said = yes;
  if
  :: o == TAKE ->
    if
    :: isFree -> hold(t, LEASE); said = taken
    :: else ->
      if
      :: tokens[t].holder -> said = own
      :: else -> said = busy
      fi
    fi
  :: o == JOIN || o == TRY -> joins(t, o)
  :: o == EXTEND ->
    if
    :: tokens[t].holder -> hold(t, LEASE); pass()
    :: else -> said = no
    fi
  :: o >= RELEASE ->
    releases(t);
    if
    :: o == BURY -> tokens[t].gone = 1
    :: else
    fi
  fi
}

#define addressee client[ownerOf(told)]

inline deliver() { addressee.messages = addressee.messages | (1 << stays[ownerOf(told)]) }

#define tell(what) say(ownerOf(told), roundOf(told), what); printf(", lease %d\n", tokens[told].lease)

inline cut() {
  if
  :: tokens[told].lease > CUT + SHORTEST -> tokens[told].lease = tokens[told].lease - CUT
  :: else -> tokens[told].lease = SHORTEST
  fi;
#ifdef A_KEYS_LIFE_CUT_BY_ONE_SHORT_LEASE
  last = told
#endif
}

/* Executes the operation, and tells waiters of their grants. */
inline execute(t, o) {
  d_step { script(t, o); printf("the server says: %e; %d hold it, %d wait\n", said, holders, waiters) };
  do
  :: grants > 0 ->
    told = 1;
    do
    :: !tokens[told].granted -> told++
    :: else -> break
    od;
    tokens[told].granted = 0;
    grants--;
    if
    :: listens(told) -> deliver(); tell("granted, and told")
    :: listens(told) && faults > 0 -> faults--; deliver(); cut(); tell("granted, told, and cut")
    :: listens(told) && faults > 0 -> faults--; tell("granted, and its message is lost")
    :: !listens(told) -> cut(); tell("granted, not heard, and cut") /* it does not listen (yet), or is dead */
    fi
  :: else -> break
  od;
  skip; /* Spin wants no jump to where a d_step begins. */
  d_step {
    told = 0;
#ifdef A_KEYS_LIFE_CUT_BY_ONE_SHORT_LEASE
    for (j : 1 .. TOKENS) {
      if
      :: tokens[j].holder && !tokens[last].holder -> last = j
      :: else
      fi
    }
    life = tokens[last].lease;
#endif
    check();
    assert(!(o == JOIN && tokens[t].gone && said == queued)) /* who has left does not come back */
  }
}

/* ---- A client ---- */

#define me client[c]

inline ask(operation) {
#ifdef LIVE
  me.extended = me.extended || operation == EXTEND;
#endif
  me.op = operation;
  me.sent = (operation < RELEASE -> BELIEF : 0);
  me.phase = asking
}

/* No request is under way. */
inline settle(next) {
  me.op = 0;
  me.sent = 0;
  me.reply = nothing;
  me.phase = next
}

inline stopListening() {
  me.ticket = 0;
  me.messages = 0
}

/* For fewer states: what can do nothing any more, if it arrives, does not arrive. */
inline forgetLate(whose) {
  if
  :: i == waiters && !tokens[whose].holder && !(tokens[whose].late & (TAKE | JOIN | TRY)) ->
    tokens[whose].late = 0;
    tokens[whose].gone = 0
  :: else
  fi
}

inline forget() {
  stopListening();
  me.since = 0;
  me.holder = 0;
  me.standing = 0;
  me.abandoned = 0;
  me.clean = 0;
#ifdef LIVE
  me.extended = 0;
#endif
  stays[c] = 0
}

/* The round is over. If none of its requests may arrive late, it leaves nothing behind. */
inline finish(known) {
  find(token(c));
  assert(!known || !me.clean || (!tokens[token(c)].holder && i == waiters)); /* no orphan */
  say(c, me.round, "is done\n");
  forgetLate(token(c));
  forget();
#ifdef LIVE
  settle(idle)
#else
  if
  :: me.round + 1 < ROUNDS -> me.round++; settle(idle)
  :: else -> settle(over)
  fi
#endif
}

inline die() {
  say(c, me.round, "dies\n");
  forget();
  me.round = ROUNDS - 1;
  settle(over)
}

inline leaves() {
  stopListening();
  me.since = 0;
  ask((me.abandoned -> BURY : RELEASE))
}

inline letLockGo() {
  me.holder = 0;
  me.since = 0;
  ask((me.abandoned && me.standing -> BURY : RELEASE))
}

inline believe() {
  say(c, me.round, "holds, and believes in it for "); printf("%d\n", me.since);
  stopListening();
  me.holder = 1;
  settle(holding);
  check()
}

inline read() {
#ifdef VALIDITY_COUNTED_FROM_THE_REPLY
  me.sent = BELIEF;
#endif
#ifdef NON_IDEMPOTENT_TAKE
  if
  :: me.reply == own -> me.reply = busy
  :: else
  fi;
#endif
  if
  :: me.reply == own ->
#ifdef OWN_VALUE_FOUND_ON_A_RETRY_COUNTED_FROM_THE_RETRY
    me.since = me.sent;
#endif
    believe()
  :: me.reply == taken || me.reply == held -> me.since = me.sent; believe()
  :: me.reply == queued -> me.since = me.sent; settle(waiting)
  :: me.reply == busy ->
    me.since = 0;
    if
    :: me.op == TRY && isExclusive(c) -> finish(1)
    :: else -> settle(refused)
    fi
  :: me.op == EXTEND && me.reply == yes -> me.since = me.sent; believe()
  :: me.op == EXTEND && me.reply == no -> me.since = 0; settle(holding)
  :: me.op >= RELEASE -> finish(1)
  fi
}

/* A message of a grant has come. The grant may have been cut, whatever the server took us for. */
inline hear(number) {
  me.messages = me.messages & ~(1 << number);
#ifdef NO_TICKETS
  me.ticket = number;
#endif
#ifdef GRANT_COUNTED_FROM_THE_MESSAGE
  me.since = BELIEF;
#endif
#ifdef CUT_GRANT_TAKEN_FOR_A_WHOLE_ONE
  j = LEASE - STAY;
#else
  j = LEASE - STAY + CUT;
#endif
  if
  :: number == me.ticket && me.since > j -> me.since = me.since - j; believe()
  :: else /* an earlier stay's, or too little is left: it asks */
  fi
}

inline pick(which) {
  t = which;
  if
  :: tokens[t].late & TAKE -> o = TAKE
  :: tokens[t].late & JOIN -> o = JOIN
  :: tokens[t].late & TRY -> o = TRY
  :: tokens[t].late & EXTEND -> o = EXTEND
  :: tokens[t].late & RELEASE -> o = RELEASE
  :: tokens[t].late & BURY -> o = BURY
  fi;
  tokens[t].late = tokens[t].late & ~o;
  asks(ownerOf(t), roundOf(t), o, ", which arrives late\n")
}

/* What it asks may arrive at any later time. */
inline linger() {
  tokens[t].late = tokens[t].late | o;
  me.clean = 0
}

inline noAnswer() {
  me.sent = 0;
  me.phase = unanswered
}

proctype Run(byte c) {
  byte t = 0, o = 0;
  bit arrives = 0, answers = 0;
end:
  do
  :: atomic {
      /* It asks, */
      if
      /* The clients are alike, so they begin in the order of their numbers. */
      :: me.phase == idle && (!alike(c) || client[c - 1].phase != idle || client[c - 1].round > 0) ->
        me.since = BELIEF;
        me.clean = 1;
        ask((isExclusive(c) -> TAKE : TRY))

      /* Another has the lock: it asks the script once, or waits. */
      :: me.phase == refused && !me.standing && mayLeave(c) && isExclusive(c) -> ask(TRY)
      :: me.phase == refused && !me.standing -> me.standing = 1; ask(JOIN)
      /* There is no room in the queue. */
      :: me.phase == refused && me.standing -> leaves()

      :: me.phase == waiting -> me.since = 0; ask(JOIN)
      :: me.phase == waiting && mayLeave(c) -> leaves()

      :: me.phase == holding && believes(c) && mayExtend(c) -> ask(EXTEND)
      /* The work is done, or the time was over when it looked. */
      :: me.phase == holding -> letLockGo()

      /* There was no answer: it asks again, with the same token, or gives up. */
      :: me.phase == unanswered -> ask(me.op)
      :: me.phase == unanswered && me.op <= TRY && mayLeave(c) ->
        me.since = 0;
        if
        :: me.standing -> leaves()
        :: else -> letLockGo()
        fi

#ifdef SLOW_REQUESTS
      fi
    }
  :: atomic {
      if
#endif
      /* or a late request arrives. */
      :: tokens[1 + c].late > 0 -> pick(1 + c); arrives = 1
#if ROUNDS > 1
      :: tokens[1 + c + N].late > 0 -> pick(1 + c + N); arrives = 1
#endif
#ifdef SLOW_REQUESTS
      :: me.phase == asking
#endif
      fi;
      if
      :: arrives
      :: !arrives ->
        t = token(c);
        o = me.op;
        if
        :: arrives = 1; answers = 1; asks(c, me.round, o, "\n")
        /* Nobody answers: the reply is lost, or the request is lost, or will arrive late. */
        :: faults > 0 -> faults--; arrives = 1; noAnswer(); asks(c, me.round, o, "; its reply will be lost\n")
        :: faults > 0 -> faults--; noAnswer(); asks(c, me.round, o, "; the request is lost\n")
#ifndef LIVE
        :: faults > 0 -> faults--; noAnswer(); linger(); me.abandoned = 1; asks(c, me.round, o, "; it will arrive late\n")
        /* It is answered, and repeated by the network, which nobody knows. */
        :: faults > 0 && !(tokens[t].late & o) -> faults--; arrives = 1; answers = 1; linger(); asks(c, me.round, o, "; it is repeated by the network\n")
        /* It dies, and what it has asked will arrive late. */
        :: faults > 0 -> faults--; linger(); die()
#endif
        fi
      fi;
      if
      :: arrives -> execute(t, o)
      :: else
      fi;
      d_step {
        if
        :: answers ->
          me.reply = said;
          if
          :: said == queued -> me.ticket = stays[c]
          :: said == taken -> me.since = 0
          :: else
          fi;
          me.phase = answered;
          /* A reply is slow only if it can make a holder, or a waiter. */
          if
          :: said == busy || said == no || o >= RELEASE -> read()
          :: else
          fi
        :: else
        fi;
        said = nothing;
        arrives = 0;
        answers = 0;
        t = 0;
        o = 0
      }
    }
  :: d_step { me.phase == answered -> say(c, me.round, "reads its reply\n"); read() }

  /* Another has the lock, and it does not wait. */
  :: d_step { me.phase == refused && !me.standing && mayLeave(c) -> finish(1) }

  :: d_step { me.phase == waiting && (me.messages & 2) -> hear(1) }
  :: d_step { me.phase == waiting && (me.messages & 4) -> hear(2) }
#if STAYS > 2
  :: d_step { me.phase == waiting && (me.messages & 8) -> hear(3) }
#endif

  /* It gives up what was not answered. */
  :: d_step { me.phase == unanswered && me.op == EXTEND -> settle(holding) }
#ifndef LIVE
  :: d_step { me.phase == unanswered && me.op >= RELEASE -> finish(0) }
#endif

  /* It dies. */
  :: d_step { faults > 0 && mayLeave(c) && me.phase != idle && me.phase != over ->
      faults--;
      die()
    }
  od
}

/* ---- Time ---- */

inline elapse(counter) {
  counter = (counter > 0 -> counter - 1 : 0)
}

proctype Clock() {
end:
  do
  :: d_step { mayElapse ->
      printf("a tick\n");
      k = 0;
      for (i : 0 .. N - 1) {
        elapse(client[i].sent);
        elapse(client[i].since)
      }
      for (i : 1 .. TOKENS) {
        elapse(tokens[i].stay);
        elapse(tokens[i].lease);
        k = k + tokens[i].stay + tokens[i].lease
      }
#ifdef A_KEYS_LIFE_CUT_BY_ONE_SHORT_LEASE
      elapse(life);
      k = (waiters > 0 -> k : life);
#endif
      if
      :: k == 0 -> /* the key is gone */
        for (i : 1 .. TOKENS) { tokens[i].holder = 0; tokens[i].lease = 0 }
        holders = 0;
        waiters = 0;
        for (i : 0 .. ROOM - 1) { queue[i] = 0 }
      :: else
      fi;
      check()
    }
  od
}

init {
  atomic {
    for (k : 0 .. N - 1) { run Run(k) }
    run Clock();
  }
}
