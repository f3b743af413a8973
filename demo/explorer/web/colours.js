// A colour for each service. The classes c0 to c7 are in style.css, for both themes; they can be told apart by people
// who see colours differently, and no colour says anything that a word beside it does not say too.

const known = { gateway: 0, traefik: 0, uservice3: 1, uservice4: 2, prober: 3, uservice1: 7, uservice2: 7 };
const others = [6, 4, 5, 3, 1, 2, 0]; // the first three are nobody's above
const given = new Map();

export function colour(service) {
  if (Object.hasOwn(known, service)) return "c" + known[service];
  if (!given.has(service)) {
    // Its name chooses, so that it has the same colour the next time, unless that is taken.
    const first = [...service].reduce((sum, c) => sum + c.codePointAt(0), 0) % 3;
    const taken = [...given.values()];
    given.set(service, [others[first], ...others].find((n) => !taken.includes(n)) ?? others[first]);
  }
  return "c" + given.get(service);
}
