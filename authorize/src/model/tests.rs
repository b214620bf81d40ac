mod answer;
mod compare;
mod tools;
