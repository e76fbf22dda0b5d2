// Dates as texts, as Rhino shows them: with the name of the zone, and for readers.
(function (original, put, DateClass) {
  'use strict';
  const { apply } = original;
  const prototype = DateClass.prototype;
  const { toString, toTimeString, getFullYear, getMonth, getDate, getHours, getMinutes, getSeconds, getTimezoneOffset, getTime } = prototype;
  const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
  const withZone = (text) => {
    const end = text.length - 8;
    return apply(original.slice, text, [end]) === 'GMT+0000' ? apply(original.slice, text, [0, end]) + 'GMT-0000 (UTC)' : text;
  };
  const two = (number) => (number < 10 ? '0' : '') + number;
  const zoneOf = (date) => {
    const minutes = -apply(getTimezoneOffset, date, []);
    if (minutes === 0) return 'UTC';
    const distance = minutes < 0 ? -minutes : minutes;
    const rest = distance % 60;
    return 'GMT' + (minutes < 0 ? '-' : '+') + two((distance - rest) / 60) + ':' + two(rest);
  };
  const dayOf = (date) => MONTHS[apply(getMonth, date, [])] + ' ' + apply(getDate, date, []) + ', ' + apply(getFullYear, date, []);
  const timeOf = (date) => {
    const hours = apply(getHours, date, []);
    const shown = hours % 12 === 0 ? 12 : hours % 12;
    return shown + ':' + two(apply(getMinutes, date, [])) + ':' + two(apply(getSeconds, date, [])) + (hours < 12 ? ' AM ' : ' PM ') + zoneOf(date);
  };
  const isNone = (date) => {
    const time = apply(getTime, date, []);
    return time !== time;
  };
  const methods = {
    toString() {
      return withZone(apply(toString, this, []));
    },
    toTimeString() {
      return withZone(apply(toTimeString, this, []));
    },
    toLocaleString() {
      return isNone(this) ? 'Invalid Date' : dayOf(this) + ' at ' + timeOf(this);
    },
    toLocaleDateString() {
      return isNone(this) ? 'Invalid Date' : dayOf(this);
    },
    toLocaleTimeString() {
      return isNone(this) ? 'Invalid Date' : timeOf(this);
    },
  };
  const names = original.keys(methods);
  for (let at = 0; at < names.length; at += 1) put(prototype, names[at], methods[names[at]], false);
})
