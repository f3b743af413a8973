// A colour for each service. The classes c0 to c10 are in style.css, for both themes; ten of them can be told apart by people
// who see colours differently, c7 is grey, and no colour says anything that a word beside it does not say too.

const known = { gateway: 0, traefik: 0, uservice3: 1, uservice4: 2, prober: 3, uservice1: 7, uservice2: 7 };
const others = [4, 6, 8, 5, 9, 3, 10, 1, 2, 0]; // the last ones are somebody's above
const given = new Map(Object.entries(known));

export function colour(service) {
  if (!given.has(service)) given.set(service, least([...given.values()]));
  return "c" + given.get(service);
}

// distinct gives services of one trace another colour where two have the same, as long as there are enough.
export function distinct(services) {
  const ours = (service) => Object.hasOwn(known, service);
  const used = services.filter(ours).map((service) => known[service]);
  for (const service of services.filter((s) => !ours(s))) {
    if (used.includes(Number(colour(service).slice(1)))) given.set(service, least(used));
    used.push(given.get(service));
  }
}

// least is the colour that is used least.
function least(used) {
  const count = (n) => used.filter((u) => u === n).length;
  return others.reduce((best, n) => (count(n) < count(best) ? n : best));
}
